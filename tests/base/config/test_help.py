"""`--help=…` finds settings by group, option, variable and word."""

from __future__ import annotations

import pytest

from quire.base.config import SETTINGS


def test_overview_names_every_group_with_its_size():
    lines = SETTINGS.help().splitlines()
    for group, settings in SETTINGS.groups().items():
        assert [line for line in lines if line.split() == [*group.split(), str(len(settings))]]
    assert len(lines) < 40


def test_all_describes_every_setting_in_full():
    text = " ".join(SETTINGS.help("all").split())
    for setting in SETTINGS.all:
        assert " ".join(setting.doc.split()) in text
        assert all(name in text for name in setting.environment_names)


@pytest.mark.parametrize("topic", ["CacheConfig", "cacheconfig"])
def test_a_group(topic):
    text = SETTINGS.help(topic)
    assert "--block-size" in text
    assert "--port" not in text


@pytest.mark.parametrize(
    "topic", ["max-num-seqs", "--max-num-seqs", "max_num_seqs", "QUIRE_MAX_NUM_SEQS", "MAX-NUM-SEQS"]
)
def test_an_option_by_any_spelling(topic):
    text = SETTINGS.help(topic)
    assert text.startswith("  --max-num-seqs INTEGER\n")
    assert text.count("since 0.1") == 1
    assert "default: 128 on CPU" in text


def test_a_word_finds_names_variables_and_descriptions():
    assert "--max-num-seqs" in SETTINGS.help("max-num")
    assert "--max-num-batched-tokens" in SETTINGS.help("max-num")
    assert "QUIRE_CPU_KVCACHE_SPACE" in SETTINGS.help("KVCACHE_SPACE")
    assert "--allowed-origins" in SETTINGS.help("cors")


def test_a_word_nothing_mentions_gets_the_nearest_options():
    assert SETTINGS.help("poort").startswith(
        "Nothing is called or mentions 'poort'. The nearest options are --port, "
    )


def test_a_refused_setting_says_why():
    assert "refused: Quire never runs code from a model repository" in SETTINGS.help("trust-remote-code")


def test_docs_are_sentences_of_reasonable_length():
    for setting in SETTINGS.all:
        assert setting.doc.endswith("."), setting.name
        assert len(setting.doc) < 300, setting.name
