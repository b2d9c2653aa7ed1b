"""A deployment, step by step: checks, resources, configuration, functions, and what Chalice cannot do.

Whatever a step finds done it leaves alone. So the same command mends a deployment that was cut off anywhere,
and a second one changes nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chalicelib.settings import Settings
from ops import deployed, finish, policies
from ops import template as templates
from ops.cloudformation import HOPELESS, UNMADE, ChangeSet, Stack, StackFailed
from ops.deploy import chalice, changes, checks, kept, options, secret
from ops.deploy.config import SECRET, StageConfig
from ops.deploy.options import Options
from ops.deploy.refusal import Failed, Refused
from ops.deploy.target import Target
from ops.policies import Place, Prefixes, Resources

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What was looked at, and found to be in order."""

    target: Target
    config: StageConfig
    options: Options
    settings: Settings
    secret: str | None
    parameters: dict[str, str]
    body: str


def plan(target: Target) -> Plan:
    """
    Raises:
        Refused: nothing was touched.
    """
    checks.interpreter(target)
    config = StageConfig(target.project, target.stage)
    checks.right_place(target, config)
    chosen = Options.read(target.project, target.stage)
    hidden = secret.find(target, config)
    settings = checks.settings(target, config, hidden)
    template = target.template
    parameters = options.parameters(template, config, chosen, settings, embedded=target.embedded)
    try:
        body = templates.body(template)
    except ValueError as error:
        raise Refused(str(error)) from None
    return Plan(target, config, chosen, settings, hidden, parameters, body)


class Rollout:
    """Carries a plan out; `say` is told every step when it begins, and every line of what it does."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._target = plan.target
        self._say = say
        self._number = 0
        self._stack = Stack(
            plan.target.client("cloudformation"),
            plan.target.stack_name,
            pause=plan.target.pause,
            say=self._line,
        )
        self.changed = False

    # --- Look only ------------------------------------------------------------------------------------------

    def preview(self) -> bool:
        """Say what would become of the resources, and leave all as it is; whether they would change."""
        status = self._stack.status()
        if status is not None and status.endswith("_IN_PROGRESS") and status != UNMADE:
            raise Refused(f"{self._target.stack_name} is in the middle of a change ({status}): wait for it")
        if status in HOPELESS:
            self._line(f"an earlier attempt left the stack in {status}: a deployment would delete that first")
            return True
        if status is not None and status != UNMADE and not status.endswith("_COMPLETE"):
            self._line(f"the stack is in {status}: a deployment would mend that first")
            return True
        if status in (None, UNMADE) and (found := kept.find(self._target)):
            for one in found:
                self._line(
                    f"  <  {one['LogicalResourceId']}  {one['ResourceType']}  is there, and would be taken in"
                )
            self._line("everything else of infra/template.yaml would be created")
            return True
        change_set = self._propose()
        if change_set is None:
            self._line("the resources are as infra/template.yaml says: nothing would change")
            return False
        try:
            self._show(change_set)
        finally:
            self._stack.discard(change_set)
        return True

    # --- The steps ------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Returns the URL of the API.

        Raises:
            Failed: a step has; the same command goes on.
        """
        with self._step("resources of infra/template.yaml"):
            outputs = self.resources()
        with self._step("configuration and policies of the stage"):
            self.configure(outputs)
        with self._step("functions, by chalice deploy"):
            self.functions()
        with self._step("what Chalice has no setting for"):
            self.finish(outputs)
        return self.url()

    def resources(self) -> dict[str, str]:
        try:
            self._stack.settle()
            if self._stack.status() in (None, UNMADE):
                self._take_in_what_was_kept()
            change_set = self._propose()
            if change_set is None:
                self._line("as they were")
                return self._stack.outputs()
            self._show(change_set)
            self._refuse_loss(change_set)
            self._stack.carry_out(change_set)
        except StackFailed as error:
            raise Failed(str(error)) from None
        self.changed = True
        return self._stack.outputs()

    def configure(self, outputs: dict[str, str]) -> None:
        config, settings = self._plan.config, self._plan.settings
        config.take_outputs(outputs)
        if self._plan.secret:
            config.leave_out_the_secret()
        if config.write():
            self.changed = True
            self._line(f"stage {config.stage} of .chalice/config.json")
        resources = Resources.from_outputs(config.stage, outputs, Prefixes.of(settings))
        policies.write(config.path.parent, config.stage, resources)

    def functions(self) -> None:
        deployed.complete(self._target.project, self._target.stage, self._target.client)
        hidden = {SECRET: self._plan.secret} if self._plan.secret else {}
        chalice.run("deploy", self._target, http_variables=hidden, say=self._line)

    def finish(self, outputs: dict[str, str]) -> None:
        stage, client, chosen = self._target.stage, self._target.client, self._plan.options
        failed_events = Place.FAILED_EVENTS_QUEUE.arn(Resources.from_outputs(stage, outputs))
        gateway_stage = self._plan.config.api_gateway_stage
        done = [
            finish.keep_logs(client, stage, chosen.log_retention_days),
            finish.report_failures_of_batches(client, stage, pause=self._target.pause),
            finish.keep_failed_events(client, stage, failed_events, pause=self._target.pause),
            finish.limit_requests(client, self._noted("rest_api_id"), gateway_stage, chosen.throttle),
        ]
        lines = [line for some in done for line in some]
        for line in lines or ["as it was"]:
            self._line(line)
        self.changed = self.changed or bool(lines)

    def url(self) -> str:
        if self._target.embedded:
            path = f"{self._noted('rest_api_id')}/{self._plan.config.api_gateway_stage}"
            return f"{self._target.endpoint_url}/_aws/execute-api/{path}"
        return self._noted("rest_api_url").rstrip("/")

    # --- Parts of them --------------------------------------------------------------------------------------

    def _propose(self) -> ChangeSet | None:
        try:
            return self._stack.propose(self._plan.body, self._plan.parameters, tags=self._plan.options.tags)
        except StackFailed as error:
            raise Failed(str(error)) from None

    def _take_in_what_was_kept(self) -> None:
        found = kept.find(self._target)
        if not found:
            return
        body = templates.body(kept.template_of(self._target.template, found))
        change_set = self._stack.propose(body, {"Stage": self._target.stage}, imports=found)
        assert change_set is not None, "what is imported is a change"
        self._line("an earlier deployment has left these behind; they are taken in, with what is in them")
        self._show(change_set)
        self._stack.carry_out(change_set)

    def _show(self, change_set: ChangeSet) -> None:
        for line in changes.lines(change_set.changes):
            self._line(line)
        self._line(changes.summary(change_set.changes) or "only tags, outputs or parameters change")

    def _refuse_loss(self, change_set: ChangeSet) -> None:
        lost = changes.would_part_with(change_set.changes, self._target.template["Resources"])
        if lost:
            self._stack.discard(change_set)
            raise Failed(
                f"this would replace or let go {', '.join(lost)}, and leave what is in it behind: change the "
                "template so that it stays, or move the data first"
            )

    def _noted(self, name: str) -> str:
        for one in deployed.read(self._target.project, self._target.stage):
            if name in one:
                return str(one[name])
        raise Failed(f"chalice deploy has noted no {name}; deploy again")

    def _line(self, line: str) -> None:
        self._say(f"       {line}")

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._number += 1
        self._say(f"[{self._number}/4]  {what}")
        begun = time.monotonic()
        yield
        self._line(f"({time.monotonic() - begun:.1f} s)")
