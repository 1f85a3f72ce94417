"""Every documented name is in the table, and asking for any documented value starts or is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.base.config.conftest import make_card, make_machine

from quire.base.config import (
    SETTINGS,
    Asked,
    Effect,
    FoundParsers,
    PoolingFacts,
    count_coverage,
    kinds,
    resolve,
)
from quire.base.config.reference import settings_page
from quire.base.errors import ConfigError

LINES = [
    line.split("\t")
    for line in (Path(__file__).parent / "names.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
OPTIONS = [words[1].split() for words in LINES if words[0] == "option"]
DOCUMENTED = {words[1].split()[0]: words[2] for words in LINES if len(words) > 2}
VARIABLES = [words[1] for words in LINES if words[0] == "variable"]


def run(words=(), environ=None):
    asked = Asked.from_arguments(["org/example", *words], environ or {})
    found = FoundParsers(tool="hermes", tool_reason="a template that shows it")
    card = make_card(pooling=PoolingFacts(classifier_from_token=["no", "yes"]))  # so that it can be converted
    return resolve(asked, card, make_machine(), found_parsers=found)


def as_text(value) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else json.dumps(value)


def test_the_list_of_names_is_whole():
    assert (len(OPTIONS), len(VARIABLES)) == (187, 175 + 7)


def test_every_documented_name_is_in_the_table():
    assert not [option for spellings in OPTIONS for option in spellings if option not in SETTINGS.by_option]
    assert not [name for name in VARIABLES if name not in SETTINGS.by_variable]


def test_every_documented_name_is_on_the_reference_page():
    page = settings_page(SETTINGS)
    names = [option for spellings in OPTIONS for option in spellings] + VARIABLES
    assert not [name for name in names if f"`{name}`" not in page]


def test_what_does_nothing_says_why():
    for setting in SETTINGS.all:
        for state in (setting.state_on("cpu"), *setting.value_states.values()):
            assert state.effect is Effect.EFFECTIVE or len(state.reason) > 15, setting.name


def test_defaults_set_as_environment_start_as_if_unset():
    environ = {
        variable: as_text(setting.default)
        for setting in SETTINGS.all
        for variable in setting.environment
        if setting.default not in (None, [], "", {}) and setting.kind != kinds.presence()
    }
    assert len(environ) > 120
    resolution = run(environ=environ)
    assert not [entry for entry in resolution.decisions if entry.choice == "without effect here"]
    assert resolution.engine == run().engine


def test_the_documented_defaults_set_as_environment_start():
    environ = {name: value for name, value in DOCUMENTED.items() if not name.startswith("-")}
    assert len(environ) > 110
    notes = [entry for entry in run(environ=environ).decisions if entry.choice == "without effect here"]
    assert not notes


def test_the_documented_defaults_given_as_options_start():
    words = []
    for option, value in DOCUMENTED.items():
        if option.startswith("--") and option != "--model":
            setting = SETTINGS.by_option[option]
            if setting.kind.is_switch:
                words.append(setting.flag if value == "True" else setting.negative_flags[0])
            else:
                words += [option, value]
    assert len(words) > 110
    assert not [entry for entry in run(words).decisions if entry.choice == "without effect here"]


def test_defaults_given_as_options_start_as_if_unset():
    words = []
    for setting in SETTINGS.all:
        if not setting.has_flag or setting.default is None or setting.is_secret or setting.name == "model":
            continue
        if setting.kind.is_switch:
            words.append(setting.flag if setting.default else setting.negative_flags[0])
        elif setting.many:
            words += [setting.flag, json.dumps(setting.default)]
        else:
            words += [setting.flag, as_text(setting.default)]
    resolution = run(words)
    assert not [entry for entry in resolution.decisions if entry.choice == "without effect here"]
    assert resolution.engine == run().engine


CHOICES = [
    (setting.name, value)
    for setting in SETTINGS.all
    for value in (("1", "0") if setting.kind.is_switch else setting.kind.choices)
]


COMPANIONS = {  # what a setting means nothing without
    "enable-ssl-refresh": ["--ssl-certfile", "c.pem"],
    "ssl-cert-reqs": ["--ssl-ca-certs", "a.pem"],
}


@pytest.mark.parametrize("name", sorted({name for name, _ in CHOICES}))
def test_each_choice_starts_or_is_refused_with_the_stated_reason(name):
    setting = SETTINGS.by_dest[name.replace("-", "_")]
    for value in [value for chosen, value in CHOICES if chosen == name]:
        words, environ = [], {}
        if not setting.has_flag:
            environ = {setting.environment_names[0]: value}
        elif setting.kind.is_switch:
            words = [setting.flag if value == "1" else setting.negative_flags[0]]
        else:
            words = [setting.flag, value]
        words += COMPANIONS.get(name, [])
        read = [setting.kind.read(value)] if setting.many else setting.kind.read(value)
        state = setting.state_of(read, "cpu")
        if state.effect is Effect.REFUSED:
            with pytest.raises(ConfigError, match="is refused: ") as caught:
                run(words, environ)
            assert state.reason in str(caught.value)
            continue
        notes = [
            entry.reason for entry in run(words, environ).decisions if entry.choice == "without effect here"
        ]
        expected = state.effect is Effect.WITHOUT_EFFECT and not setting.is_shared
        assert notes == ([state.reason] if expected else [])


@pytest.mark.parametrize("name", ["tensor-parallel-size", "max-loras", "mm-processor-cache-gb"])
def test_a_refused_setting_may_be_given_its_default(name):
    setting = SETTINGS.by_dest[name.replace("-", "_")]
    run([setting.flag, as_text(setting.default)])
    with pytest.raises(ConfigError, match=rf"^{setting.flag} 3(\.0)? is refused: Quire has no "):
        run([setting.flag, "3"])


def test_fields_of_an_object_may_be_given_their_defaults():
    run(["--speculative-config", '{"method": null, "draft_sample_method": "greedy"}'])
    with pytest.raises(ConfigError, match="Quire has no speculative decoding yet"):
        run(["--speculative-config.method", "ngram"])
    run(["--structured-outputs-config.backend", "auto"])


def test_counts_add_up_to_every_name():
    found = count_coverage(SETTINGS, "cpu")
    options = sum(setting.has_flag for setting in SETTINGS.all)
    variables = sum(len(setting.environment) for setting in SETTINGS.all)
    assert found.num_names == options + variables
    assert sum(found.of("options", effect) for effect in Effect) == options
    waiting = {s.name for s in SETTINGS.all if s.state_on("cpu").awaits}
    assert "enable-lora" in waiting
    assert "port" not in waiting
    assert 0 < found.num_remaining < found.num_names
