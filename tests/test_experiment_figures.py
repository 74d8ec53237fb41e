"""The figures of README.md and docs/experiments.md are those of the committed results of the experiments."""

import json
import re
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"


def fields(runs, *metrics):
    return [f"{runs}.{metric}" for metric in metrics]


# A row of a table by its first cell, and where its figures come from: the runs of each seed, and the metric.
STARTS = {
    "forget bias 0": "forget_bias_0",
    "forget bias 1": "forget_bias_1",
    "forget bias 5": "forget_bias_5",
    "chrono": "chrono",
}
SUMS = {"T = 10": "", "T = 20": "_at_20", "T = 50": "_at_50", "T = 100": "_at_100"}
IDENTIFIERS = {
    "the LSTMs": "auc",
    "the LSTMs and 5-grams together": "auc_with_ngram",
    "5-grams, counted on the same text": "auc_ngram",
    "py3langid": "auc_py3langid",
    "Lingua": "auc_lingua",
    "fastText, the small model": "auc_fasttext_lite",
}
JUDGES = {
    "a character model for each language": "character_models",
    "a classifier": "classifier",
    "both LSTMs together": "together",
    "5-grams of each language": "ngram",
    "all three together": "with_ngram",
    "py3langid, asked for 50 languages": "py3langid",
    "Lingua, asked for 50 languages": "lingua",
}
CODES = {
    "the classifier on the code of the chosen variant": "",
    "the classifier on the code of an untrained encoder": "untrained_",
    "the classifier on means and deviations": "moments_",
}
DECODERS = {
    "alone": ("alone", "reverse"),
    "conditional": ("conditional", "conditional-reverse"),
    "composite": ("composite", "composite-reverse"),
    "composite, conditional": ("composite-conditional", "composite-conditional-reverse"),
}
PAGE = {
    row: fields("echo_lengths", *(f"steps_{start}_at_{length}" for length in (12, 25, 50, 100, 200)))
    for row, start in STARTS.items()
}
PAGE |= {row: fields("cumsum_longer", f"step_accuracy{at}", f"sequence_accuracy{at}") for row, at in SUMS.items()}
PAGE |= {row: fields("langid_best", auc) for row, auc in IDENTIFIERS.items()}
PAGE |= {
    row: fields("manylang_best", *(f"{judge}_{length}" for length in (5, 10, 20, 50))) for row, judge in JUDGES.items()
}
PAGE |= {
    f"`{preset}`": fields(f"sentiment_{preset}", "accuracy", "accuracy_bag_of_words", "accuracy_together")
    for preset in ("best", "pretrained", "self_trained")
}
PAGE |= {row: fields("vowels", f"{code}accuracy", f"{code}cross_validated") for row, code in CODES.items()}
PAGE |= {
    row: fields("vowels", *(f"{variant}_{figure}" for figure in ("error", "accuracy") for variant in variants))
    for row, variants in DECODERS.items()
}
PAGE |= {
    "`--preset few_labels`": ["sentiment_few_labels.accuracy"],
    "`--preset few_labels --pretraining-epochs 0`": ["sentiment_few_labels_not_pretrained.accuracy"],
    "aeon's ROCKET": ["vowels.rocket_accuracy"],
    "aeon's 1-NN with DTW": ["vowels.dtw_accuracy"],
    "the LSTM": fields("anomalies", "auc", "steps_off"),
    "aeon's DWT-MLEAD": fields("anomalies", "dwt_mlead_auc", "dwt_mlead_steps_off"),
    "aeon's KMeansAD": fields("anomalies", "kmeansad_auc", "kmeansad_steps_off"),
    "the LSTM's forecast": ["prices.share_known"],
    "RiskMetrics' moving average": ["prices.riskmetrics_share_known"],
}
README = {
    "`echo --preset length1000`": ["echo_length1000.accuracy"],
    "`cumsum --preset longer`": fields("cumsum_longer", "step_accuracy_at_100", "sequence_accuracy_at_100"),
    "`langid --preset best`": fields(
        "langid_best", "auc", "auc_with_ngram", "auc_ngram", "auc_py3langid", "auc_lingua"
    ),
    "`manylang --preset best`": fields(
        "manylang_best", "together_20", "with_ngram_20", "ngram_20", "lingua_20", "py3langid_20"
    ),
    "`sentiment --preset few_labels`": [
        "sentiment_few_labels.accuracy",
        "sentiment_few_labels_not_pretrained.accuracy",
    ],
    "`vowels`": fields("vowels", "accuracy", "untrained_accuracy", "rocket_accuracy", "dtw_accuracy"),
    "`anomalies`": fields("anomalies", "auc", "dwt_mlead_auc", "kmeansad_auc"),
    "`prices`": fields("prices", "share_known", "riskmetrics_share_known"),
}
README |= {
    f"`sentiment --preset {preset}`": fields(
        f"sentiment_{preset}", "accuracy", "accuracy_together", "accuracy_bag_of_words"
    )
    for preset in ("best", "self_trained")
}
# The first table of the README, all seeds: where its figures come from, and how many decimals they have.
ORIGINALS = {
    "`cumsum`": [("cumsum.step_accuracy", 4), ("cumsum.sequence_accuracy", 3)],
    "`autoencoder`": [
        ("autoencoder.max_abs_error", 4),
        ("autoencoder.composite_max_abs_error", 4),
        ("autoencoder.prediction_max_abs_error", 4),
    ],
    "`langid`": [("langid.auc", 3), ("langid.auc_after_5_epochs", 3)],
    "`sentiment`": [("sentiment.accuracy", 3)],
}


def runs_of(name):
    return [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"{name}_seed?.json"))]


def values_of(field):
    name, metric = field.split(".")
    return [run["metrics"].get(metric) for run in runs_of(name)]


def figure(values):
    """The mean, with the least and the greatest where they differ; empty where there is none."""
    if None in values:
        return ""
    digits = 0 if all(value > 1 for value in values) or values[0] == 1 else 3
    middle, least, most = (f"{value:,.{digits}f}" for value in (mean(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def rows_of(page):
    """The first cell and the others of every row of a table."""
    lines = (ROOT / page).read_text().splitlines()
    cells = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("| "))
    return [(first, rest) for first, *rest in cells]


@pytest.mark.parametrize("row", PAGE)
def test_the_page_shows_the_committed_figures(row):
    ((_, cells),) = [found for found in rows_of("docs/experiments.md") if found[0] == row]
    expected = [figure(values_of(field)) for field in PAGE[row]]
    expected += [""] * (len(cells) - len(expected))
    assert [re.sub(" steps?$", "", cell) for cell in cells] == expected


@pytest.mark.parametrize("row", README)
def test_the_readme_shows_their_means(row):
    ((_, cells),) = [found for found in rows_of("README.md") if found[0] == row]
    shown = re.findall(r"\b\d\.\d{3}\b", " ".join(cells))
    assert shown == [f"{mean(values_of(field)):.3f}" for field in README[row]]


@pytest.mark.parametrize("row", ORIGINALS)
def test_the_readme_shows_every_seed_of_the_originals(row):
    ((_, (_, _, here)),) = [found for found in rows_of("README.md") if found[0] == row]
    expected = [f"{value:.{digits}f}" for field, digits in ORIGINALS[row] for value in values_of(field)]
    assert len(expected) >= 3
    assert re.findall(r"\b\d\.\d+\b", here) == expected


def test_echo_gets_all_right():
    assert values_of("echo.accuracy") == [1.0, 1.0, 1.0]


def test_the_page_shows_the_greatest_costs():
    costs = [(first, rest) for first, rest in rows_of("docs/experiments.md") if rest[-1].endswith(" GB")]
    assert len(costs) == 13
    for command, (seconds, memory) in costs:
        runs = runs_of(command.strip("`").replace(" --preset ", "_"))
        assert seconds == f"{max(run['seconds'] for run in runs):,.0f}"
        assert memory == f"{max(run['peak_memory'] for run in runs) / 1e9:.1f} GB"
