"""Asks a Prometheus that reads the sample with probes whether the metrics have come and all rules can be evaluated.

Arguments: address of the Prometheus, address of the sample.
"""

import json
import sys
import time
import urllib.parse
import urllib.request

prometheus, sample = sys.argv[1:]


def ask(path, **query):
    url = f"http://{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]


def values(query):
    return [float(series["value"][1]) for series in ask("query", query=query)["result"]]


def until(what, holds):
    for _ in range(120):
        if holds():
            print(f"ok {what}")
            return
        time.sleep(0.5)
    sys.exit(f"not within a minute: {what}")


with urllib.request.urlopen(f"http://{sample}/readyz", timeout=5) as answer:
    print("ok the sample is ready:", answer.status)
until("user records are stored", lambda: sum(values('kpl_user_records_put')) > 3)
until("records are processed", lambda: sum(values('kcl_records_processed{Operation="ProcessTask"}')) > 3)
until("each shard has a lag", lambda: len(values('kcl_millis_behind_latest{Operation="ProcessTask"}')) == 2)
until("somebody leads", lambda: values("max(kcl_leader_decider_is_leader)") == [1.0])


def rules():
    return [rule for group in ask("rules")["groups"] for rule in group["rules"]]


until("every rule was evaluated", lambda: all(rule["health"] == "ok" for rule in rules()))
states = {rule["name"]: rule["state"] for rule in rules()}
if len(states) < 10 or set(states.values()) != {"inactive"}:
    sys.exit(f"alerts: {states}")
print(f"ok {len(states)} alerts, none rises")
