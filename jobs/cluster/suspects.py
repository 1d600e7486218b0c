"""Files that look like secrets, by their names or by their content.

detect-secrets 1.5.0 (of 2024, the last release) does not do it: it needs 49 s for the 714 text
files of this repository (this module: 3 s), and knows neither `hf_` and `github_pat_` tokens nor
`Authorization: Bearer`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from pipelines.secrets import secret_in

#: Patterns of a path component, in lower case.
_NAMES = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass"),
    *(".htpasswd", ".git-credentials", ".dockercfg", ".s3cfg", ".boto", ".vault-token"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdb", "*.kdbx", "*.ppk"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "kubeconfig*"),
    *("credentials*", "*credentials.json", "secret", "secrets", "secrets.*", "*secret.*"),
    *("*secrets.*", "service-account*.json", "service_account*.json", "*-sa-key.json"),
    *("client_secret*.json", "application_default_credentials*", "accesstokens.json"),
    *("msal_token_cache*", "*.tfstate", "*.tfstate.*", "*.tfvars"),
)
#: Folders of other programs with credentials, in lower case.
_FOLDERS = (
    *(".git", ".aws", ".ssh", ".gnupg", ".kube", ".azure", ".docker", ".oci", ".huggingface"),
    *("gcloud", ".gcloud", ".password-store", ".1password", "keyrings"),
)
#: Code and documents are judged by their content: `secrets.py`, `credentials.md`.
_CODE = (".py", ".pyi", ".md", ".rst", ".sh", ".html", ".j2", ".c", ".h", ".cpp", ".rs", ".go")
_MOST_BYTES = 4 << 20  #: of a file that are searched
_HEAD = 8 << 10  #: a zero byte in it: not text


def suspicious_name(path: PurePath) -> str | None:
    """The component of a path that is named like a secret, or None. Case does not matter."""
    for place, part in enumerate(path.parts, start=1):
        lower = part.lower()
        if place < len(path.parts) and lower in _FOLDERS:
            return part
        if PurePath(lower).suffix in _CODE and not lower.startswith("."):
            continue
        if any(fnmatchcase(lower, pattern) for pattern in _NAMES):
            return part
    return None


def suspicion_of(name: PurePath, path: Path) -> str | None:
    """Why a file looks like a secret: a reason that does not repeat it, or None.

    Args:
        name: below the working directory.
        path: the file. A link is judged by its target's name as well.
    """
    names = [name, path.resolve()] if path.is_symlink() else [name]
    if part := next((found for one in names if (found := suspicious_name(one))), None):
        return f"{part!r} is a name of secrets"
    with path.open("rb") as file:
        data = file.read(_HEAD)
        if b"\0" in data:
            return None
        data += file.read(_MOST_BYTES - len(data))
    secret = secret_in(data.decode("utf-8", "replace"))
    return f"line {secret.line} looks like {secret.what}" if secret else None
