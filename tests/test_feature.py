import re
from contextlib import suppress
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import FeatureError
from lefcache.feature import (
    NAME,
    POOLS,
    Feature,
    check_layers,
    deepest_layer,
    describe_layers,
    parse_features,
    parse_layers,
    parse_pool,
    split_list,
)

NUMBER = st.integers(-99, 99)
MODEL = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,12}", fullmatch=True).filter(NAME.fullmatch)
SPAN = st.tuples(NUMBER, NUMBER).filter(
    lambda ends: (ends[0] < 0) != (ends[1] < 0) or ends[0] < ends[1]
)
SUM = st.lists(st.one_of(NUMBER, st.just("last")), min_size=2, max_size=5, unique=True)
LAYER = st.one_of(
    NUMBER,
    st.just("last"),
    SPAN.map(lambda ends: f"{ends[0]}~{ends[1]}"),
    SUM.map(lambda parts: "+".join(map(str, parts))),
)


@st.composite
def features(draw):
    layer = draw(LAYER)
    pools = (*POOLS, None) if layer == "last" else POOLS
    return Feature(draw(MODEL), layer, draw(st.sampled_from(pools)))


@given(features())
def test_what_is_printed_parses_to_the_same_feature(feature):
    assert Feature.parse(str(feature)) == feature


@given(features(), st.integers(1, 120))
def test_a_resolved_feature_is_a_feature_too(feature, depth):
    try:
        resolved = feature.resolve(depth)
    except FeatureError:
        return  # such as 3+-1 in a model of three blocks
    assert Feature.parse(str(resolved)) == resolved
    assert resolved.resolve(depth) == resolved


@given(st.text(max_size=20))
def test_any_text_is_a_feature_or_a_feature_error(text):
    try:
        feature = Feature.parse(text)
    except FeatureError:
        return
    assert Feature.parse(str(feature)) == feature


@pytest.mark.parametrize(
    ("text", "feature", "printed"),
    [
        ("llama2:0", Feature("llama2", 0), "llama2:0"),
        ("llama2:24", Feature("llama2", 24), "llama2:24"),
        ("llama2:024", Feature("llama2", 24), "llama2:24"),
        (" llama2:24 ", Feature("llama2", 24), "llama2:24"),
        ("m:24@mean", Feature("m", 24), "m:24"),
        ("m:last", Feature("m", "last", None), "m:last"),
        ("m:last@mean", Feature("m", "last", "mean"), "m:last@mean"),
        ("m:last@own", Feature("m", "last", "own"), "m:last@own"),
        ("m:3@cls", Feature("m", 3, "first"), "m:3@first"),
        ("m:3@mean_nobos", Feature("m", 3, "mean_nobos"), "m:3@mean_nobos"),
        ("m:-1", Feature("m", -1), "m:-1"),
        ("m:20~24", Feature("m", "20~24"), "m:20~24"),
        ("m:-4~-1@max", Feature("m", "-4~-1", "max"), "m:-4~-1@max"),
        ("m:4+8+12", Feature("m", "4+8+12"), "m:4+8+12"),
        ("m:4+last", Feature("m", "4+last"), "m:4+last"),
        ("qwen2.5_x-y:1", Feature("qwen2.5_x-y", 1), "qwen2.5_x-y:1"),
    ],
)
def test_every_form_of_the_notation(text, feature, printed):
    assert Feature.parse(text) == feature
    assert str(feature) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no feature"),
        ("llama2", "no feature"),
        (":3", "no feature"),
        ("m:", "no feature"),
        ("Upper:3", "no feature"),
        ("a b:3", "no feature"),
        ("m:3@", "no feature"),
        ("m:1.5", "no layer '1.5'"),
        ("m:first", "no layer 'first'"),
        ("m:--1", "no layer"),
        ("m:3@median", "no pool 'median': it is one of mean, mean_nobos"),
        ("m:3@mean@max", "no pool"),
        ("m:all", "several features; one is wanted"),
        ("m:1..4", "several features; one is wanted"),
        ("m:1..4/2@max", "several features; one is wanted"),
        ("m:4~4", "backwards or has one layer only"),
        ("m:5~4", "backwards or has one layer only"),
        ("m:4+4", "stands twice"),
        ("m:4+04", "stands twice"),
        ("m:last+last", "stands twice"),
        ("m:4+", "no layer"),
        ("m:1,m:2", "no layer"),
    ],
)
def test_what_is_no_feature_says_what_one_is(text, message):
    with pytest.raises(FeatureError, match=message) as raised:
        Feature.parse(text)
    assert text in str(raised.value)
    assert not str(raised.value).startswith('"')  # not quoted like a KeyError


@pytest.mark.parametrize(
    ("layer", "resolved"),
    [
        (-1, 32),
        (-33, 0),
        (5, 5),
        ("last", "last"),
        ("-4~-1", "29~32"),
        ("30~-1", "30~32"),
        ("4+-1+last", "4+32+last"),
    ],
)
def test_negative_layers_count_from_the_end(layer, resolved):
    assert Feature("m", layer).resolve(32).layer == resolved


@pytest.mark.parametrize(("layer", "depth"), [("5~-1", 4), ("3+-1", 3), ("4~-1", 4)])
def test_a_mean_that_makes_no_sense_for_a_depth_is_refused(layer, depth):
    with pytest.raises(FeatureError):
        Feature("m", layer).resolve(depth)


@pytest.mark.parametrize(
    ("layer", "parts"),
    [(3, (3,)), ("last", ("last",)), ("2~5", (2, 3, 4, 5)), ("4+8+last", (4, 8, "last"))],
)
def test_the_parts_of_a_feature_are_stored_layers(layer, parts):
    assert tuple(Feature("m", layer).parts) == parts


OFFERED = [0, 1, 2, 3, 4, 5, 6, "last"]


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("all", OFFERED),
        ("3", [3]),
        ("-1", [6]),
        ("last", ["last"]),
        ("2..4", [2, 3, 4]),
        ("0..6/3", [0, 3, 6]),
        ("-2..-1", [5, 6]),
        ("4..-1,last", [4, 5, 6, "last"]),
        (" 1 , 2 ", [1, 2]),
        ("5,1,5,1..2", [5, 1, 2]),
    ],
)
def test_layers_are_listed_in_the_order_written(text, layers):
    assert parse_layers(text, 6, OFFERED) == layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7", r"no layer 7 in this model: it has 0\.\.6, last"),
        ("5..9", "no layer 7"),
        ("-8", "no layer -8 in a model of 6 blocks"),
        ("4..2", "the range 4..2 is empty"),
        ("1..4/0", "empty"),
        ("1,,2", "empty item"),
        ("", "empty item"),
        ("x", "no layer 'x'"),
        ("2~4", "no layer 2~4"),
    ],
)
def test_a_list_of_layers_that_a_model_lacks_is_refused(text, message):
    with pytest.raises(FeatureError, match=message):
        parse_layers(text, 6, OFFERED)


class Known:
    depth = 4
    aliases = MappingProxyType({})

    def layers(self, pool):
        return {"mean": [0, 2, 4, "last"], "max": [1, 2]}.get(pool, [])


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("m", "m:0 m:2 m:4 m:last"),
        ("m:all", "m:0 m:2 m:4 m:last"),
        ("m:all@max", "m:1@max m:2@max"),
        ("m:1..3", "m:1 m:2 m:3"),
        ("m:0..-1/2@cls", "m:0@first m:2@first m:4@first"),
        ("m:-1,k:last@own", "m:4 k:last@own"),
        ("m:2,m:2@mean,m:-3", "m:2"),
    ],
)
def test_lists_stand_for_several_features(text, printed):
    assert " ".join(map(str, parse_features(text, lambda _: Known()))) == printed


class Ending(Known):
    """A model whose last output is that of its last block, as BERT's is."""

    aliases = MappingProxyType({"last": 4})

    def layers(self, pool):
        return [0, 2, 4]


def test_a_layer_by_another_name_is_no_second_feature():
    def printed(text):
        return " ".join(map(str, parse_features(text, lambda _: Ending())))

    assert printed("m:last,m:4,k:4,m:2") == "m:last k:4 m:2"
    assert printed("m,m:last") == "m:0 m:2 m:4"
    assert printed("m:last@max,m:4,m:last@mean") == "m:last@max m:4"


@pytest.mark.parametrize("text", ["", "m:1,,m:2", "m:1..2@median", "M", "m:2..1", ","])
def test_a_list_that_is_none_is_refused(text):
    with pytest.raises(FeatureError):
        parse_features(text, lambda _: Known())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m:3,last", "last is a layer of no model: write m:last"),
        ("m:1,2..4", "write m:2..4"),
        ("m:1,-1", "write m:-1"),
        ("sst2/m:3", r"is no feature \(did you mean m:3 --data sst2\?\)"),
    ],
)
def test_what_was_meant_is_said(text, message):
    with pytest.raises(FeatureError, match=message):
        parse_features(text, lambda _: Known())


def test_a_list_is_split_at_commas():
    assert split_list(" a, b ,c") == ["a", "b", "c"]


@given(st.sets(st.integers(0, 40)), st.booleans())
def test_described_layers_can_be_read_back(numbers, last):
    layers = [*sorted(numbers), *["last"] * last]
    words = describe_layers(layers)
    assert re.fullmatch(r"[\d., last]*", words)
    if layers:
        assert parse_layers(words, 40, [*range(41), "last"]) == layers


@pytest.mark.parametrize(
    "name", ["con", "nul", "aux.bin", "lpt1", "com9.x", "a.", "..", ".a", "A", ""]
)
def test_what_some_system_cannot_name_a_folder_names_no_model(name):
    assert not NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["a", "e5", "qwen2.5", "console", "con-x", "null", "com10", "a-", "0"]
)
def test_other_names_are_fine_everywhere(name):
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("text", ["all", "16..32,last", "-4..-1", "0", "2~4", "1+last", "0..8/2"])
def test_layers_can_be_checked_before_the_model_is_known(text):
    check_layers(text)


@pytest.mark.parametrize("text", ["", "x", "1,,2", "3-5", "4~2", "lst", "1+1"])
def test_misspelt_layers_are_refused_before_the_model_is_known(text):
    with pytest.raises(FeatureError):
        check_layers(text)


@pytest.mark.parametrize("text", ["0..x", "minilm:3", "1,,2"])
def test_misspelt_layers_are_told_what_a_list_of_layers_is(text):
    for read in (check_layers, lambda text: parse_layers(text, 6, OFFERED)):
        with pytest.raises(FeatureError, match=r"--layers takes numbers.*16\.\.32,last"):
            read(text)


@pytest.mark.parametrize(
    ("text", "deepest"),
    [("0", 0), ("0..3,8", 8), ("9,2..4", 9), ("0..8/3", 8)]
    + [(text, None) for text in ("all", "last", "0..3,last", "-1", "0..-2", "1~2", "1+2")],
)
def test_the_deepest_layer_is_known_before_the_model_where_only_numbers_are_named(text, deepest):
    assert deepest_layer(text) == deepest


def test_a_pool_may_be_called_by_its_other_name():
    assert [parse_pool(name) for name in ("cls", "mean")] == ["first", "mean"]
    with pytest.raises(FeatureError, match=r"no pool 'maen': .*own \(did you mean mean\?\)"):
        parse_pool("maen")


@given(st.text(max_size=12) | st.from_regex(r"[a-z:.~+@,/0-9٣-]{1,16}", fullmatch=True))
def test_anything_is_a_feature_or_an_error_of_ours(text):
    for parse in (
        Feature.parse,
        parse_pool,
        check_layers,
        lambda text: parse_layers(text, 3, [0, 1, 2, 3, "last"]),
        lambda text: parse_features(text, lambda _: Known()),
        lambda text: list(Feature.parse(text).resolve(3).parts)[:9],
    ):
        with suppress(FeatureError):
            parse(text)


@pytest.mark.parametrize(
    "layer", ["9" * 5000, "0..99999999999", "0~999999999999", "1+" + "9" * 99, "0..9/" + "9" * 5000]
)
def test_layers_without_end_are_refused_at_once(layer):
    for parse in (
        lambda: Feature.parse(f"m:{layer}"),
        lambda: parse_layers(layer, 3, [0, 1, 2, 3, "last"]),
        lambda: parse_features(f"m:{layer}", lambda _: Known()),
    ):
        with pytest.raises(FeatureError):
            parse()
