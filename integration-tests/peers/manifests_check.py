"""Checks the manifests of the sample worker: ECS by the model of its API, and that Kubernetes and ECS run the same. With the argument
`arguments`, prints those of the worker, one a line. Needs botocore and PyYAML."""

import json
import sys
from pathlib import Path

import botocore.session
import yaml
from botocore.validate import ParamValidator

DEPLOY = Path(__file__).parents[2] / "deploy"
# MiB of memory by CPU units of Fargate. docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
FARGATE = {"256": [512, 1024, 2048], "512": range(1024, 4097, 1024), "1024": range(2048, 8193, 1024)}
FARGATE_STOP_TIMEOUT = 120


def unknown_words(shape, value, path):
    """Words where the model lists those that there are, which botocore leaves to the service."""
    if shape.type_name == "structure":
        for key, inner in value.items():
            yield from unknown_words(shape.members[key], inner, f"{path}.{key}")
    elif shape.type_name == "list":
        for index, inner in enumerate(value):
            yield from unknown_words(shape.member, inner, f"{path}[{index}]")
    elif shape.type_name == "map":
        for key, inner in value.items():
            yield from unknown_words(shape.value, inner, f"{path}.{key}")
    elif getattr(shape, "enum", []) and value not in shape.enum:
        yield f"{path}: {value} is none of {shape.enum}"


def register_task_definition():
    session = botocore.session.get_session()
    return session.get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape


def faults_of(task):
    shape = register_task_definition()
    report = ParamValidator().validate(task, shape)
    if report.has_errors():
        return [report.generate_report()]
    return list(unknown_words(shape, task, "task"))


def kubernetes():
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/worker.yaml").read_text()))
    by_kind = {document["kind"]: document for document in documents}
    account, deployment, budget = (by_kind[kind] for kind in ("ServiceAccount", "Deployment", "PodDisruptionBudget"))
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == budget["spec"]["selector"]["matchLabels"]
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    for probe in ("livenessProbe", "readinessProbe"):
        assert template["spec"]["containers"][0][probe]["httpGet"]["port"] in ports
    return template["spec"]


def main():
    task = json.loads((DEPLOY / "ecs/task-definition.json").read_text())
    pod = kubernetes()
    worker, container = pod["containers"][0], task["containerDefinitions"][0]
    if sys.argv[1:] == ["arguments"]:
        print(*worker["args"], sep="\n")
        return
    faults = faults_of(task)
    assert not faults, faults
    # The check itself: what is wrong is noticed.
    assert faults_of({**task, "networkMode": "awsvcp"}) and faults_of({**task, "cpus": "512"})
    assert int(task["memory"]) in FARGATE[task["cpu"]] and container["stopTimeout"] <= FARGATE_STOP_TIMEOUT

    assert worker["args"] == container["command"]
    assert worker["env"] == container["environment"] and worker["image"] == container["image"]
    assert pod["terminationGracePeriodSeconds"] == container["stopTimeout"] == 75
    user, group = pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]
    assert f"{user}:{group}" == container["user"] == "65532:65532"
    assert worker["securityContext"]["readOnlyRootFilesystem"] is container["readonlyRootFilesystem"] is True
    print("Kubernetes and ECS run the worker alike, and the model of ECS accepts the task")


main()
