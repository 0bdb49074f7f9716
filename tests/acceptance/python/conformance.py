"""Drives every operation of the API's definition with schemathesis: requests that follow the definition,
requests that break it, and requests about objects that exist. Prints one line for each way in which the
answers depart from the definition: a status of 5xx, a status that is not documented, a body that is not
as documented, no answer.

    conformance.py DEFINITION [--examples N] [--seed N] [--shared] [--record FILE] [--only OPERATION]

DOCKER_HOST names the engine (unix://). With --shared nothing is asked of it that changes what others
have there. --record writes each request with its status, to compare two engines.
"""

import argparse
import json
import os
import re
import time

import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

from conformance_world import Socket, World

# They change what is not the test's, or need a registry or a swarm that others share.
NOT_SHARED = re.compile(r"Prune|ImageDelete|ImageCreate|ImagePush|ImageLoad|ImageSearch|ImageBuild|NetworkCreate|Swarm|Plugin|SystemAuth|Distribution")
# Each example takes away what the next one needs.
CONSUMES = re.compile(r"Delete|Prune|Rename|Stop|Kill|Pause|Unpause|Restart|Update|Disconnect")
# Questions whose answers do not end by themselves: they are made to.
ENDS = {
    "SystemEvents": {"until": "1"},
    "ContainerStats": {"stream": False, "one-shot": True},
    "ContainerLogs": {"follow": False},
    "ContainerStop": {"t": 0},
    "ContainerRestart": {"t": 0},
}

# What is below these has names of its own.
KEYS = re.compile(r"^(Ports|Networks|Containers|Volumes|Labels|Options|IndexConfigs|Runtimes)$")
EMPTY_TAR = bytes(10240)


for media_type in ("application/x-tar", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, st.sampled_from([EMPTY_TAR, b"", b"no archive"]))

    @schemathesis.serializer(media_type)
    def raw(context, value):  # noqa: ANN001
        """Bytes are sent as they are."""
        return value if isinstance(value, bytes) else str(value).encode()


class Run:
    """The findings of all requests."""

    def __init__(self, world: World, record) -> None:
        self.world, self.record = world, record
        self.findings: dict[str, str] = {}
        self.count = 0
        self.statuses: dict[str, set[int]] = {}

    def note(self, finding: str, example: str) -> None:
        self.findings.setdefault(finding, example)

    def send(self, operation_id: str, case) -> None:
        """Sends a request and judges the answer."""
        self.count += 1
        data = case.as_transport_kwargs(base_url="http://engine/v1.51")
        shown = f"{data['method']} {data['url']} {data.get('params') or ''} {str(data.get('json', data.get('data', '')))[:600]}"
        try:
            response = self.world.socket.send(data)
        except requests.RequestException as error:
            self.note(f"{operation_id}: no answer", f"{shown}: {error}")
            return
        if self.record:
            self.record.write(f"{operation_id}\t{response.status_code}\t{shown}\t{response.text[:200]!r}\n")
        self.statuses.setdefault(operation_id, set()).add(response.status_code)
        example = f"{shown} -> {response.status_code} {response.text[:300]}"
        documented = {str(code) for code in case.operation.responses.status_codes}
        if response.status_code >= 500:
            self.note(f"{operation_id}: {response.status_code}", example)
        elif str(response.status_code) not in documented and response.status_code not in (101, 400):
            # Any operation may find its request wrong; the definition says so of few.
            self.note(f"{operation_id}: {response.status_code} is not documented", example)
        if "json" not in response.headers.get("content-type", "") or not response.content:
            return
        try:
            case.validate_response(response, checks=[schemathesis.checks.response_schema_conformance])
        except FailureGroup as group:
            for failure in group.exceptions:
                self.note(f"{operation_id}: {response.status_code}: {describe(failure)}", example)


def describe(failure) -> str:
    """Where in the body, and what: the same words for every element of a list and every key of a map."""
    path = getattr(failure, "instance_path", None)
    if path is None:
        return failure.title
    where = ".".join("*" if isinstance(part, int) or KEYS.search(str(before)) else str(part) for before, part in zip([""] + list(path), path))
    message = getattr(failure, "_raw_message", "") or ""
    said = re.search(r"is not (of type|one of|valid under|a )[^{\[]*|is (less|greater|longer|shorter|a required).*", message)
    return f"{where or 'body'} {said[0].split(' listed')[0] if said else message[:60]}".strip()


def examples(run: Run, operation_id: str, operation, count: int, number: int) -> None:
    """Random requests of one operation, half of them about objects that exist."""
    modes = [(GenerationMode.POSITIVE, count), (GenerationMode.NEGATIVE, max(1, count // 3))]
    for mode, quantity in modes:
        try:
            strategy = operation.as_strategy(generation_mode=mode)

            @seed(number)
            @settings(max_examples=quantity, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(case=strategy, pick=st.integers(0, 7))
            def one(case, pick) -> None:
                if CONSUMES.search(operation_id):
                    run.world.heal()
                run.world.aim(operation_id, case, pick)
                if isinstance(case.query, dict) and mode == GenerationMode.POSITIVE or operation_id in ENDS:
                    case.query = {**(case.query or {}), **ENDS.get(operation_id, {})}
                run.send(operation_id, case)

            one()
        except AssertionError:
            raise
        except BaseException as error:  # noqa: BLE001
            # Some operations have nothing that could be wrong.
            if type(error).__name__ not in ("Unsatisfiable", "Skipped", "SkipTest"):
                raise


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("definition")
    parser.add_argument("--examples", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--record")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()

    with open(options.definition) as file:
        definition = yaml.safe_load(file)
    definition["basePath"] = "/v1.51"
    schema = schemathesis.openapi.from_dict(definition)
    world = World(Socket(os.environ["DOCKER_HOST"].removeprefix("unix://")))
    record = open(options.record, "w") if options.record else None
    run = Run(world, record)
    try:
        for result in schema.get_all_operations():
            operation = result.ok()
            operation_id = operation.definition.raw["operationId"]
            if options.only and not re.search(options.only, operation_id) or options.shared and NOT_SHARED.search(operation_id):
                continue
            world.heal()
            start = time.monotonic()
            for query, body in world.known(operation_id):
                case = operation.Case(query=query, **({"body": body, "media_type": "application/json"} if body is not None else {}))
                world.heal()
                world.aim(operation_id, case, 0)
                run.send(operation_id, case)
            examples(run, operation_id, operation, options.examples, options.seed)
            if options.verbose:
                print(f"# {operation_id} {time.monotonic() - start:.2f}s {sorted(run.statuses.get(operation_id, ()))}", flush=True)
    finally:
        world.clean()
    print(f"# {run.count} requests, {len(run.statuses)} operations")
    for finding, example in sorted(run.findings.items()):
        print(json.dumps({"finding": finding, "example": example}))


main()
