"""The chat page in a real browser: what it shows of a reply, what keys do, what it keeps, what it never runs."""

from __future__ import annotations

import json

import pytest
from tests.api.server.web.chromium import ENTER, ESCAPE, SHIFT, TAB

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
IS_IDLE = "document.getElementById('stop').hidden"


@pytest.fixture
def page(browser):
    browser.size(1280, 800)
    browser.problems.clear()
    browser.requests.clear()
    return browser


@pytest.fixture
def server(answering, serve):
    return serve(answering())


@pytest.fixture
def chat(page, server):
    """The page, open and ready; its storage is empty, for every server has an origin of its own."""
    page.open(server.url)
    page.wait("document.querySelector('#model option')")
    yield page
    assert page.problems == []
    assert {url for url in page.requests if not url.startswith((server.url, "about:", "blob:"))} == set()


def focus(page, css: str) -> None:
    page.run(f"document.querySelector({css!r}).focus()")


def say(page, text: str) -> None:
    focus(page, "#prompt")
    page.type(text)
    page.press(ENTER)


def ask(page, text: str) -> None:
    """Say it and wait for the end of the reply."""
    num_turns = page.run("document.querySelectorAll('.turn.assistant').length")
    say(page, text)
    page.wait(f"document.querySelectorAll('.turn.assistant').length > {num_turns} && {IS_IDLE}")


def bodies(page) -> list[str]:
    return page.run("[...document.querySelectorAll('.turn .body')].map((node) => node.innerText.trim())")


def fill(page, name: str, value: str) -> None:
    field = f"document.forms.parameters.elements.namedItem({name!r})"
    page.run(
        f"{field}.value = {json.dumps(value)}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def test_enter_sends_and_shift_enter_breaks_the_line(chat, server):
    assert chat.run("document.activeElement.id") == "prompt"
    chat.type("one")
    chat.press(ENTER, SHIFT)
    chat.type("two")
    assert chat.run("document.getElementById('prompt').value") == "one\ntwo"
    chat.press(ENTER)
    chat.wait("document.querySelectorAll('.turn.assistant').length === 1 && " + IS_IDLE)
    assert bodies(chat) == ["one\ntwo", "You said one\ntwo."]
    assert chat.run("document.activeElement.id") == "prompt"


def test_a_reply_is_counted_and_timed(chat):
    ask(chat, "hello")
    figures = chat.run("document.querySelector('.assistant .figures').textContent").split(" · ")
    assert [part.split(" ")[-1] for part in figures] == ["tokens", "tokens/s", "s"]
    assert int(figures[0].split()[0]) > 3


def test_markdown_is_drawn_and_html_is_not(chat):
    ask(chat, "markdown")
    drawn = chat.run(
        "(() => { const body = document.querySelector('.assistant .body');"
        "const text = (css) => [...body.querySelectorAll(css)].map((node) => node.textContent);"
        "return { h1: text('h1'), em: text('em'), strong: text('strong'), li: text('ol li'), td: text('td'),"
        " code: text('pre code'), b: text('b'), scripts: text('script'),"
        " links: [...body.querySelectorAll('a')].map((node) => node.getAttribute('href')), all: body.innerText } })()"
    )
    assert drawn["h1"] == ["Paper"]
    assert (drawn["em"], drawn["strong"], drawn["li"]) == (["thin"], ["strong"], ["Rag", "Pulp"])
    assert drawn["td"] == ["quarto", "4"]
    assert drawn["code"] == ['print("<script>alert(1)</script>")']
    assert drawn["b"] == drawn["scripts"] == []
    assert "<b>no bold</b>" in drawn["all"]
    assert drawn["links"] == ["https://example.org/a"]
    assert "[not one](javascript:alert(2))" in drawn["all"]


def test_reasoning_is_folded_away_after_it_was_shown(chat):
    ask(chat, "think")
    box = "document.querySelector('details.reasoning')"
    assert chat.run(f"{box}.open") is False
    assert chat.run(f"{box}.querySelector('summary').textContent").startswith("Thought for ")
    assert chat.run(f"{box}.querySelector('.thought').textContent") == "First the weather, then the news."
    chat.run(f"{box}.querySelector('summary').click()")
    assert chat.run(f"{box}.open") is True
    assert "It rains in Rome." in bodies(chat)[1]


def test_a_tool_call_is_shown_and_answered(chat, server):
    fill(chat, "tools", json.dumps(TOOLS))
    ask(chat, "tool")
    assert chat.run("document.querySelector('.call b').textContent") == "weather"
    assert json.loads(chat.run("document.querySelector('.call pre').textContent")) == {
        "city": "Rome",
        "days": 2,
    }
    focus(chat, ".call input")
    chat.type("sunny")
    chat.press(ENTER)
    chat.wait("document.querySelectorAll('.turn.assistant').length === 2 && " + IS_IDLE)
    assert bodies(chat)[-2:] == ["sunny", "You said sunny."]
    assert chat.run("document.querySelector('.call input')") is None


def test_escape_stops_and_what_came_stays(chat, server):
    server.engine.pause_after = 5
    say(chat, "long")
    chat.wait("document.querySelector('.assistant .body').innerText.length > 5")
    chat.press(ESCAPE)
    chat.wait(IS_IDLE)
    chat.wait("document.querySelector('.assistant .figures').textContent.endsWith('stopped')")
    assert bodies(chat)[1].startswith("one two")
    server.engine.pause_after = None
    ask(chat, "again")
    assert bodies(chat)[-1] == "You said again."


def test_edit_and_retry_go_on_from_there(chat, server):
    ask(chat, "first")
    ask(chat, "second")
    chat.run(
        "[...document.querySelectorAll('.turn.user')][0].querySelector('.acts button:last-child').click()"
    )
    chat.run("document.querySelector('.edit textarea').select()")
    chat.type("other")
    chat.press(ENTER)
    chat.wait("document.querySelectorAll('.turn').length === 2 && " + IS_IDLE)
    assert bodies(chat) == ["other", "You said other."]
    num_requests = len(server.engine.requests)
    chat.run("document.querySelector('.assistant .acts button:last-child').click()")
    chat.wait("document.querySelectorAll('.turn').length === 2 && " + IS_IDLE)
    assert len(server.engine.requests) == num_requests + 1


def test_parameters_reach_the_engine(chat, server):
    for name, value in {
        "temperature": "0.5",
        "top_p": "0.9",
        "top_k": "7",
        "max_tokens": "3",
        "seed": "11",
    }.items():
        fill(chat, name, value)
    fill(chat, "stop", "xx\nyy")
    fill(chat, "system", "Be brief.")
    fill(chat, "schema", '{"type": "string"}')
    ask(chat, "hello")
    request = server.engine.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 7)
    assert (sampling.max_tokens, sampling.seed, sampling.stop) == (3, 11, ["xx", "yy"])
    assert json.loads(request.constraint.grammar.text) == {"type": "string"}
    assert "cut at its longest" in chat.run("document.querySelector('.assistant .figures').textContent")
    prompt = server.service.session.tokenizer.decode(request.prompt_token_ids)
    assert "Be brief." in prompt


def test_a_schema_that_is_no_json_is_told_and_nothing_is_sent(chat, server):
    fill(chat, "schema", "{")
    say(chat, "hello")
    chat.wait("document.getElementById('notice').textContent === 'The JSON schema is not a JSON object.'")
    assert server.engine.requests == []


def test_conversations_stay_and_can_be_deleted(chat, server):
    ask(chat, "first")
    chat.run("document.getElementById('new').click()")
    assert bodies(chat) == []
    ask(chat, "second")
    chat.open(server.url)
    titles = "[...document.querySelectorAll('#conversations .open')].map((node) => node.textContent)"
    chat.wait(f"{titles}.length === 2")
    assert chat.run(titles) == ["second", "first"]
    chat.run("[...document.querySelectorAll('#conversations .open')][1].click()")
    assert bodies(chat) == ["first", "You said first."]
    chat.run("setTimeout(() => document.querySelector('#conversations li:last-child .remove').click())")
    chat.wait(f"{titles}.length === 1")
    assert chat.run(titles) == ["second"]
    assert chat.run("Object.keys(localStorage).filter((key) => key.includes('conversation')).length") == 1


def test_export_is_markdown(chat):
    ask(chat, "think")
    chat.run(
        "URL.createObjectURL = (blob) => { window.exported = blob.text(); return 'blob:none' };"
        "HTMLAnchorElement.prototype.click = function () { window.exportedName = this.download };"
        "document.getElementById('export').click()"
    )
    assert chat.run("window.exportedName") == "think.md"
    text = chat.run("window.exported")
    assert text == (
        "# think\n\n## You\n\nthink\n\n## scripted\n\n> First the weather, then the news.\n\nIt rains in Rome.\n"
    )


def test_what_the_server_refuses_is_told_in_its_words(chat, server):
    fill(chat, "max_tokens", "99999")
    ask(chat, "hello")
    assert "max_tokens" in chat.run("document.querySelector('.fault').textContent")
    chat.problems[:] = [text for text in chat.problems if "400" not in text]  # Chromium notes each such reply


def test_colours_follow_the_system_until_they_are_chosen(chat):
    paper = "getComputedStyle(document.body).backgroundColor"
    chat.prefer("light")
    light = chat.run(paper)
    chat.prefer("dark")
    dark = chat.run(paper)
    assert light != dark
    switch = "document.querySelector('[data-switches-theme]').click()"
    chat.run(switch)
    assert chat.run(paper) == light
    chat.run(switch)
    chat.prefer("light")
    assert chat.run(paper) == dark
    chat.run(switch)
    assert chat.run(paper) == light


def test_focus_goes_through_the_page_in_order(chat):
    names = []
    focus(chat, "#new")
    for _ in range(8):
        chat.press(TAB)
        names.append(
            chat.run("document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''")
        )
    assert names[1:5] == ["model", "Colours: as the system. Switch to light", "Settings", ""]
    assert "prompt" in names or "send" in names


def test_it_fits_a_phone(page, server):
    page.size(360, 740, is_phone=True)
    page.open(server.url)
    page.wait("document.querySelector('#model option')")
    ask(page, "markdown")
    assert page.run("document.documentElement.scrollWidth") == 360
    box = page.run("document.getElementById('prompt').getBoundingClientRect().toJSON()")
    assert 0 < box["top"] < box["bottom"] <= 740
    shown = "getComputedStyle(document.getElementById('shelf')).visibility"
    assert page.run(shown) == "hidden"
    page.run("document.querySelector('[data-opens=shelf]').click()")
    assert page.run(shown) == "visible"
    page.press(ESCAPE)
    assert page.run(shown) == "hidden"


def test_a_key_is_asked_for_and_sent(page, answering, serve):
    server = serve(answering(api_keys=["secret"]))
    page.open(server.url)
    page.wait("document.getElementById('notice').textContent.includes('needs an API key')")
    assert page.run("document.activeElement.name") == "key"
    page.type("secret")
    page.run("document.activeElement.dispatchEvent(new Event('change', {bubbles: true}))")
    page.wait("document.querySelector('#model option')")
    ask(page, "hello")
    assert bodies(page) == ["hello", "You said hello."]
    assert page.run("[sessionStorage.getItem('quire.key'), localStorage.getItem('quire.key')]") == [
        "secret",
        None,
    ]


def test_the_reference_shows_each_route_and_tries_it(page, server):
    page.open(f"{server.url}/docs#post_tokenize")
    page.wait("document.querySelector('#post_tokenize[open] .try')")
    routes = page.run("[...document.querySelectorAll('.route')].length")
    assert routes >= 13
    assert "return_token_strs" in page.run("document.querySelector('#post_tokenize table').innerText")
    page.run("document.querySelector('#post_tokenize .try button').click()")
    page.wait("document.querySelector('#post_tokenize pre').textContent.includes('count')")
    page.run("document.getElementById('post_v1_chat_completions').open = true")
    page.wait("document.querySelector('#post_v1_chat_completions .inside')")
    assert "known fields are refused" in page.run(
        "document.getElementById('post_v1_chat_completions').innerText"
    )
    assert page.problems == []
