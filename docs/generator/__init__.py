"""The pages of docs/reference/. `docs/reference.py` writes them.

columns.py      columns of a run's shards, from the Flow of each job
meanings.py     the meaning of each column
config_keys.py  config keys, from the JSON schema of the pydantic models
commands.py     commands of `nightjar`, from typer
markdown.py     tables
"""
