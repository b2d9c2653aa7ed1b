"""What tells too much is sent all the way; `quiet` then finds it in no log, of any stack that ran."""

from ops.stack import LocalStack
from tests.stack.quiet import MARK, all_logs, leaks
from tests.stack.user import User, eventually, send_form


def test_what_is_marked_is_in_no_log(stack: LocalStack) -> None:
    user = User(stack)
    hook = user.call("POST", "/webhooks", {"url": f"http://127.0.0.1:9/hook?key={MARK}"})
    assert hook.status == 201
    form = user.presign(filename=f"{MARK}.txt", method="POST")
    assert send_form(form["uploadUrl"], form["fields"], f"{MARK} as text".encode()).status == 201
    sent = [
        form,
        user.upload(f'{{"id": "{MARK}", "n": 1}}'.encode(), filename=f"{MARK}.json"),
        user.upload(f'{{"id": "{MARK}'.encode(), filename=f"broken {MARK}.json"),
    ]

    ends = [user.ended(signed["jobId"])["status"] for signed in sent]

    assert ends == ["COMPLETED", "COMPLETED", "REJECTED"]

    def heard_of_all() -> bool:
        logs = "".join(all_logs(stack).values())
        return all(signed["jobId"] in logs for signed in sent) and "webhook.failed" in logs

    eventually(heard_of_all, "the functions' logs tell of it")
    user.call("DELETE", f"/webhooks/{hook.json['id']}")
    assert leaks(all_logs(stack)) == []


def test_what_is_looked_for_would_be_found() -> None:
    lines = [
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
        "PUT /b/k?X-Amz-Algorithm=x&X-Amz-Signature=0123456789abcdef",
        "x-amz-security-token=IQoJb3JpZ2luX2VjE",
        "policy eyJleHBpcmF0aW9uIjogIjIwMjYifQ==",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        f"a file called {MARK}.txt",
        "a line like any other",
    ]

    assert len(leaks({"log": "\n".join(lines)})) == len(lines) - 1
