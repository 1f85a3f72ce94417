"""The static pages: small, whole, closed against the outside, and gone where they are not wanted."""

from __future__ import annotations

import re

import pytest

from quire.api.server.web.pages import FOLDER, PAGE_PATHS

MAX_BYTES = 150_000
PAGES = ("/", "/docs", "/redoc")
URL = re.compile(r"""https?://[^\s"'`)]+""")
# names of formats, never fetched; and the two beginnings a link must have
NOT_FETCHED = ("http://www.w3.org/2000/svg", "http://", "https://")


async def test_all_files_together_are_small(http):
    sizes = [int((await http.get(path)).headers["content-length"]) for path in PAGE_PATHS]
    assert len(sizes) == 15
    assert sum(sizes) < MAX_BYTES


async def test_every_file_of_the_folder_is_served(http):
    for path in FOLDER.iterdir():
        if path.suffix != ".html":
            assert (await http.get(f"/ui/{path.name}")).content == path.read_bytes()
    assert (await http.get("/ui/none.js")).status_code == 404
    assert (await http.get("/ui/../../folio/config.json")).status_code == 404


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_load_nothing_from_outside(path, http):
    reply = await http.get(path)
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_no_file_names_another_place():
    for path in FOLDER.iterdir():
        addresses = set(URL.findall(path.read_text("utf-8"))) - set(NOT_FETCHED)
        assert not addresses, f"{path.name}: {addresses}"


def test_no_script_makes_html_of_text():
    for path in FOLDER.glob("*.js"):
        text = path.read_text("utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert word not in text, f"{path.name} uses {word}"


async def test_a_known_file_is_not_sent_again(http):
    first = await http.get("/ui/page.css")
    again = await http.get("/ui/page.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_without_the_chat_page(make_service, connect):
    async with connect(make_service(has_ui=False)) as client:
        statuses = [
            (await client.get(path)).status_code for path in ("/", "/ui/chat.js", "/docs", "/ui/page.css")
        ]
    assert statuses == [404, 404, 200, 200]


async def test_without_the_reference(make_service, connect):
    async with connect(make_service(has_docs=False)) as client:
        paths = ("/docs", "/redoc", "/openapi.json", "/ui/reference.js", "/")
        assert [(await client.get(path)).status_code for path in paths] == [404, 404, 404, 404, 200]


async def test_with_keys_the_pages_open_and_what_they_ask_for_does_not(make_service, connect):
    async with connect(make_service(api_keys=["k"])) as client:
        for path in PAGE_PATHS:
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 401
