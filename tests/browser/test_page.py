"""The page at `/`, as somebody uses it who has only a browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from ops.shipments import shipments
from ops.stack import LocalStack
from tests.browser.browser import MB, Browser
from tests.browser.page import DASHBOARD, Page
from tests.stack.user import User, eventually

Window = Callable[..., Browser]

PAUSE = ".uppy-StatusBar-actions button[title=Pause]"
RESUME = ".uppy-StatusBar-actions button[title=Resume]"


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def make(name: str, body: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(body)
        return path

    return make


Files = Callable[[str, bytes], Path]


def test_a_dropped_file_is_uploaded_and_followed_to_its_end(
    stack: LocalStack, window: Window, files: Files
) -> None:
    page = Page(stack, window())

    page.drop(files("notes from Köln.txt", b"hello\nworld\n"))

    job = page.job_with("notes from Köln.txt", "Completed")
    assert "12 B" in job.text
    assert "text/plain" in job.text
    assert {link.text.split()[0] for link in job.find_elements("css selector", ".files a")} == {
        "original",
        "text.txt",
    }
    assert page.window.complaints() == []
    assert page.window.origins() == {stack.api_url, stack.endpoint_url}


@pytest.mark.parametrize("end", ["", "/"])
def test_the_page_works_behind_the_deployed_gateway_too(stack: LocalStack, window: Window, end: str) -> None:
    browser = window()

    browser.open(stack.gateway_url + end)

    browser.one(".job, #empty:not([hidden])")
    assert f"{stack.gateway_url}/jobs" in {url.split("?")[0] for _, url in browser.requests()}
    assert browser.text("#trouble") == ""
    assert browser.complaints() == []


def test_a_rejected_file_says_why_in_words(stack: LocalStack, window: Window, files: Files) -> None:
    page = Page(stack, window())

    page.drop(files("broken.json", b'{"id": '))

    job = page.job_with("broken.json", "Rejected")
    shown = job.find_element("css selector", ".error").text
    job_id = job.get_attribute("data-job")
    assert shown == User(stack).job(str(job_id))["error"]["message"]
    assert "line 1" in shown


def test_a_file_name_is_text_whatever_it_looks_like(stack: LocalStack, window: Window, files: Files) -> None:
    page = Page(stack, window())
    name = "<img src=x onerror=document.title='pwned'>.txt"

    page.drop(files(name, b"harmless"))

    page.job_with(name, "Completed")
    assert page.window.run("return document.title") == "Waybill"
    assert page.window.all("#list img") == []


def test_deleting_asks_first_and_removes_everything(stack: LocalStack, window: Window, files: Files) -> None:
    user, page = User(stack), Page(stack, window())
    page.drop(files("short-lived.txt", b"gone soon"))
    job = page.job_with("short-lived.txt", "Completed")
    job_id = str(job.get_attribute("data-job"))

    job.find_element("css selector", "[data-act=delete]").click()
    assert "short-lived.txt" in page.window.text("#confirm")
    page.window.click("#confirm [value=keep]")
    assert page.has("short-lived.txt")
    job.find_element("css selector", "[data-act=delete]").click()
    page.window.click("#confirm [value=delete]")

    page.window.until(lambda: not page.has("short-lived.txt"), "its card is gone")
    eventually(lambda: user.job(job_id) is None, "its record is gone")
    assert [key for key in user.keys("") if job_id in key] == []


def test_a_failed_job_can_be_tried_again(stack: LocalStack, window: Window, files: Files) -> None:
    user, page = User(stack), Page(stack, window())
    page.drop(files("second-chance.txt", b"try me"))
    job_id = str(page.job_with("second-chance.txt", "Completed").get_attribute("data-job"))
    fail(stack, user, job_id)

    failed = page.job_with("second-chance.txt", "Failed")
    assert "cut off" in failed.find_element("css selector", ".error").text
    failed.find_element("css selector", "[data-act=retry]").click()

    page.job_with("second-chance.txt", "Completed")
    assert user.job(job_id)["status"] == "COMPLETED"


def test_how_far_heavy_work_has_come_is_shown(stack: LocalStack, window: Window, files: Files) -> None:
    user, page = User(stack), Page(stack, window())
    page.drop(files("long-film.txt", b"not quite"))
    job_id = str(page.job_with("long-film.txt", "Completed").get_attribute("data-job"))
    stack.client("dynamodb").update_item(
        TableName=stack.outputs["JobsTable"],
        Key={"owner": {"S": user.job(job_id)["owner"]}, "jobId": {"S": job_id}},
        UpdateExpression="SET #status = :status, stage = :stage, progress = :progress",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":status": {"S": "PROCESSING"},
            ":stage": {"S": "downloading"},
            ":progress": {"N": "15"},
        },
    )

    card = page.job_with("long-film.txt", "downloading, 15 %")
    assert card.find_element("css selector", ".status").text == "Processing"
    assert card.find_element("css selector", "progress").get_attribute("value") == "15"


def fail(stack: LocalStack, user: User, job_id: str) -> None:
    """Put a job and its file where a worker that was lost leaves them."""
    job = user.job(job_id)
    failed_key = job["key"].replace("processed/", "failed/", 1)
    s3 = stack.client("s3")
    s3.copy_object(Bucket=user.bucket, Key=failed_key, CopySource={"Bucket": user.bucket, "Key": job["key"]})
    s3.delete_object(Bucket=user.bucket, Key=job["key"])
    stack.client("dynamodb").update_item(
        TableName=stack.outputs["JobsTable"],
        Key={"owner": {"S": job["owner"]}, "jobId": {"S": job_id}},
        UpdateExpression="SET #status = :status, #error = :error, #key = :key",
        ExpressionAttributeNames={"#status": "status", "#error": "error", "#key": "key"},
        ExpressionAttributeValues={
            ":status": {"S": "FAILED"},
            ":key": {"S": failed_key},
            ":error": {
                "M": {"code": {"S": "worker_lost"}, "message": {"S": "Processing was cut off every time."}}
            },
        },
    )


def test_what_was_made_of_a_photo_and_of_a_letter_is_shown(
    stack: LocalStack, window: Window, files: Files
) -> None:
    page = Page(stack, window())

    for shipment in shipments():
        if shipment.name in ("photo.jpg", "letter.pdf"):
            page.drop(files(shipment.name, shipment.body))

    photo = page.job_with("photo.jpg", "Completed")
    page.job_with("letter.pdf", "Completed")
    assert "Waybill Demo" in str(photo.get_attribute("textContent"))
    shown = (
        "return [...document.querySelectorAll('.picture img')].map((i) => [i.naturalWidth, i.naturalHeight])"
    )
    sizes = page.window.until(
        lambda: (found := page.window.run(shown)) and all(all(size) for size in found) and found,
        "the pictures are loaded",
    )
    assert page.window.run("return document.querySelectorAll('.job details[open]').length") == 0
    assert [384, 512] in sizes, "upright, though it was taken with the camera on its side"
    assert page.window.complaints() == []


def test_an_output_is_downloaded_from_the_bucket(
    stack: LocalStack, window: Window, files: Files, tmp_path: Path
) -> None:
    page = Page(stack, window())
    target = tmp_path / "downloads"
    page.window.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(target))
    page.drop(files("to-read.txt", b"all of it\r\n"))
    job = page.job_with("to-read.txt", "Completed")

    job.find_element("css selector", "[data-act='file-original']").click()

    page.window.until(lambda: (target / "to-read.txt").exists(), "the original is there again")
    assert (target / "to-read.txt").read_bytes() == b"all of it\r\n"


def test_all_of_it_can_be_done_by_keyboard(stack: LocalStack, window: Window, files: Files) -> None:
    page = Page(stack, window())
    browser = page.window
    browser.cdp("Page.enable")
    browser.cdp("Page.setInterceptFileChooserDialog", enabled=True)

    tab_to(browser, "classList.contains('uppy-Dashboard-browse')")
    assert browser.focused("matches(':focus-visible')")
    browser.press(Keys.ENTER)
    chosen = browser.until(lambda: browser.events("Page.fileChooserOpened"), "a file can be chosen")
    browser.cdp(
        "DOM.setFileInputFiles",
        files=[str(files("by-keyboard.txt", b"no mouse"))],
        backendNodeId=chosen[0]["backendNodeId"],
    )
    page.job_with("by-keyboard.txt", "Completed")
    assert "by-keyboard.txt: Completed" in browser.run("return document.getElementById('news').textContent")

    tab_to(browser, "getAttribute('aria-label') === 'Delete: by-keyboard.txt'")
    assert browser.style("[aria-label='Delete: by-keyboard.txt']", "outlineStyle") == "solid"
    browser.press(Keys.ENTER)
    assert browser.focused("value") == "keep", "what destroys nothing comes first"
    browser.press(Keys.TAB, Keys.ENTER)

    browser.until(lambda: not page.has("by-keyboard.txt"), "it is deleted")
    assert browser.focused("closest('#jobs') !== null"), "the focus stays among the jobs"


def tab_to(browser: Browser, wanted: str) -> None:
    for _ in range(80):
        browser.press(Keys.TAB)
        if browser.focused(wanted):
            return
    raise AssertionError(f"no Tab leads there: {wanted}")


@pytest.mark.parametrize("width", [360, 1100])
def test_it_follows_the_system_into_the_dark_and_fits_the_screen(
    stack: LocalStack, window: Window, width: int
) -> None:
    user = User(stack)
    user.ended(user.upload(b"{}", filename="a-long-name-without-a-space-" + "x" * 90 + ".json")["jobId"])
    light, dark = (Page(stack, window(width=width, dark=dark)).window for dark in (False, True))

    for browser, ground in ((light, bright), (dark, dim)):
        browser.one(".job")
        assert ground(browser.style("body", "backgroundColor"))
        assert ground(browser.style(DASHBOARD, "backgroundColor"))
        assert ground(browser.style(".job", "backgroundColor"))
        assert not ground(browser.style(".job h3", "color"))
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def luminance(color: str) -> float:
    channels = [float(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3]]
    return sum(channels) / 3 / 255


def bright(color: str) -> bool:
    return luminance(color) > 0.8


def dim(color: str) -> bool:
    return luminance(color) < 0.2


def test_a_large_file_goes_in_parts_and_can_be_paused(
    stack: LocalStack, window: Window, tmp_path: Path
) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as sparse:
        sparse.truncate(150 * MB)
    page = Page(stack, window())
    browser = page.window
    browser.limit_upload(40 * MB)

    page.drop(large)
    browser.until(lambda: len(parts_sent(browser)) > 3, "parts are under way")
    browser.click(PAUSE)
    browser.one(RESUME)
    browser.run("return new Promise((done) => setTimeout(done, 500))")
    paused_at = len(parts_sent(browser))
    browser.run("return new Promise((done) => setTimeout(done, 1000))")
    assert len(parts_sent(browser)) == paused_at, "nothing is sent while it is paused"
    browser.click(RESUME)

    job_id = str(page.job_with("large.bin", "Completed").get_attribute("data-job"))
    assert User(stack).job(job_id)["size"] == 150 * MB
    assert browser.complaints() == []


def parts_sent(browser: Browser) -> list[str]:
    return [url for method, url in browser.requests() if method == "PUT" and "partNumber=" in url]
