"""The dashboard's queries use metrics that Nightjar publishes, under Ray's names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from infra_files import INFRA, KUBERAY, clusters, documents, ray_pods

from pipelines.engine.metrics import METRICS

#: A counter or gauge is exported as ray_NAME, a histogram as these three (Ray 2.60, looked at).
PARTS = {"histogram": ("_bucket", "_sum", "_count")}
#: Labels of a query that are Prometheus's own.
OWN = {"le", "run"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((INFRA / "grafana" / "nightjar.json").read_text())
    return whole


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(title, PromQL) of every query, the variables' too."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def exported() -> dict[str, set[str]]:
    """Name in Prometheus -> its labels."""
    return {
        f"ray_{name}{part}": {*tags, *OWN}
        for name, (kind, tags, _) in METRICS.items()
        for part in PARTS.get(kind, ("",))
    }


def test_every_query_names_existing_metrics(dashboard: dict[str, Any]) -> None:
    for title, query in queries(dashboard):
        named = set(re.findall(r"\bray_\w+", query))
        assert named, title
        assert named <= exported().keys(), title


def test_every_metric_is_on_the_dashboard(dashboard: dict[str, Any]) -> None:
    shown = " ".join(query for _, query in queries(dashboard))
    for name in METRICS:
        assert re.search(rf"\bray_{name}(_bucket)?\b", shown), name


def test_every_label_of_a_query_is_one_of_its_metric(dashboard: dict[str, Any]) -> None:
    for title, query in queries(dashboard):
        labels = {
            label for metric in re.findall(r"\bray_\w+", query) for label in exported()[metric]
        }
        used = {*re.findall(r"(\w+)\s*(?:=~|=|!=)\s*\"", query)}
        for group in re.findall(r"\bby \(([^)]*)\)", query):
            used |= {label.strip() for label in group.split(",")}
        assert used <= labels, title


def test_every_query_of_a_panel_is_about_the_chosen_runs_and_closes_what_it_opens(
    dashboard: dict[str, Any],
) -> None:
    for title, query in queries(dashboard):
        if title != "run":
            assert query.count("{") == query.count('run=~"$run"'), title
        for opened, closed in ("()", "{}", "[]"):
            assert query.count(opened) == query.count(closed), title


def test_no_query_trusts_the_sum_of_a_histogram(dashboard: dict[str, Any]) -> None:
    """Ray 2.60 adds the middle of the bucket: one observation of 0.5 s gave a sum of 0.55."""
    assert not any("_sum{" in query for _, query in queries(dashboard))


def test_panels_do_not_overlap_and_say_what_they_show(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["description"].endswith("."), panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_prometheus_scrapes_a_port_that_every_ray_pod_has() -> None:
    (monitor,) = documents(KUBERAY / "monitoring" / "podmonitor.yaml")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (policy,) = documents(KUBERAY / "base" / "network-policy.yaml")
    open_ports = {
        port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", ())
    }
    for name, cluster in clusters("base"):
        for pod in ray_pods(cluster):
            ports = {p["name"]: p["containerPort"] for p in pod["containers"][0]["ports"]}
            assert ports[endpoint["port"]] in open_ports, name
