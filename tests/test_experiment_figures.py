"""The figures of README.md and docs/experiments.md are those of the committed results of the experiments."""

import json
import re
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"

# A row of a table by its first cell, and where its figures come from: the runs of each seed, and the metric.
PAGE = {
    "forget bias 0": [
        "echo_lengths.steps_forget_bias_0_at_12",
        "echo_lengths.steps_forget_bias_0_at_25",
        "echo_lengths.steps_forget_bias_0_at_50",
        "echo_lengths.steps_forget_bias_0_at_100",
        "echo_lengths.steps_forget_bias_0_at_200",
    ],
    "forget bias 1": [
        "echo_lengths.steps_forget_bias_1_at_12",
        "echo_lengths.steps_forget_bias_1_at_25",
        "echo_lengths.steps_forget_bias_1_at_50",
        "echo_lengths.steps_forget_bias_1_at_100",
        "echo_lengths.steps_forget_bias_1_at_200",
    ],
    "forget bias 5": [
        "echo_lengths.steps_forget_bias_5_at_12",
        "echo_lengths.steps_forget_bias_5_at_25",
        "echo_lengths.steps_forget_bias_5_at_50",
        "echo_lengths.steps_forget_bias_5_at_100",
        "echo_lengths.steps_forget_bias_5_at_200",
    ],
    "chrono": [
        "echo_lengths.steps_chrono_at_12",
        "echo_lengths.steps_chrono_at_25",
        "echo_lengths.steps_chrono_at_50",
        "echo_lengths.steps_chrono_at_100",
        "echo_lengths.steps_chrono_at_200",
    ],
    "T = 10": ["cumsum_longer.step_accuracy", "cumsum_longer.sequence_accuracy"],
    "T = 20": ["cumsum_longer.step_accuracy_at_20", "cumsum_longer.sequence_accuracy_at_20"],
    "T = 50": ["cumsum_longer.step_accuracy_at_50", "cumsum_longer.sequence_accuracy_at_50"],
    "T = 100": ["cumsum_longer.step_accuracy_at_100", "cumsum_longer.sequence_accuracy_at_100"],
    "the LSTMs": ["langid_best.auc"],
    "the LSTMs and 5-grams together": ["langid_best.auc_with_ngram"],
    "5-grams, counted on the same text": ["langid_best.auc_ngram"],
    "py3langid": ["langid_best.auc_py3langid"],
    "Lingua": ["langid_best.auc_lingua"],
    "fastText, the small model": ["langid_best.auc_fasttext_lite"],
    "a character model for each language": [
        "manylang_best.character_models_5",
        "manylang_best.character_models_10",
        "manylang_best.character_models_20",
        "manylang_best.character_models_50",
    ],
    "a classifier": [
        "manylang_best.classifier_5",
        "manylang_best.classifier_10",
        "manylang_best.classifier_20",
        "manylang_best.classifier_50",
    ],
    "both LSTMs together": [
        "manylang_best.together_5",
        "manylang_best.together_10",
        "manylang_best.together_20",
        "manylang_best.together_50",
    ],
    "5-grams of each language": [
        "manylang_best.ngram_5",
        "manylang_best.ngram_10",
        "manylang_best.ngram_20",
        "manylang_best.ngram_50",
    ],
    "all three together": [
        "manylang_best.with_ngram_5",
        "manylang_best.with_ngram_10",
        "manylang_best.with_ngram_20",
        "manylang_best.with_ngram_50",
    ],
    "py3langid, asked for 50 languages": [
        "manylang_best.py3langid_5",
        "manylang_best.py3langid_10",
        "manylang_best.py3langid_20",
        "manylang_best.py3langid_50",
    ],
    "Lingua, asked for 50 languages": [
        "manylang_best.lingua_5",
        "manylang_best.lingua_10",
        "manylang_best.lingua_20",
        "manylang_best.lingua_50",
    ],
    "`best`": ["sentiment_best.accuracy", "sentiment_best.accuracy_bag_of_words", "sentiment_best.accuracy_together"],
    "`pretrained`": [
        "sentiment_pretrained.accuracy",
        "sentiment_pretrained.accuracy_bag_of_words",
        "sentiment_pretrained.accuracy_together",
    ],
    "`self_trained`": [
        "sentiment_self_trained.accuracy",
        "sentiment_self_trained.accuracy_bag_of_words",
        "sentiment_self_trained.accuracy_together",
    ],
    "`--preset few_labels`": ["sentiment_few_labels.accuracy"],
    "`--preset few_labels --pretraining-epochs 0`": ["sentiment_few_labels_not_pretrained.accuracy"],
    "the classifier on the code of the chosen variant": ["vowels.accuracy", "vowels.cross_validated"],
    "the classifier on the code of an untrained encoder": [
        "vowels.untrained_accuracy",
        "vowels.untrained_cross_validated",
    ],
    "the classifier on means and deviations": ["vowels.moments_accuracy", "vowels.moments_cross_validated"],
    "aeon's ROCKET": ["vowels.rocket_accuracy"],
    "aeon's 1-NN with DTW": ["vowels.dtw_accuracy"],
    "alone": ["vowels.alone_error", "vowels.reverse_error", "vowels.alone_accuracy", "vowels.reverse_accuracy"],
    "conditional": [
        "vowels.conditional_error",
        "vowels.conditional-reverse_error",
        "vowels.conditional_accuracy",
        "vowels.conditional-reverse_accuracy",
    ],
    "composite": [
        "vowels.composite_error",
        "vowels.composite-reverse_error",
        "vowels.composite_accuracy",
        "vowels.composite-reverse_accuracy",
    ],
    "composite, conditional": [
        "vowels.composite-conditional_error",
        "vowels.composite-conditional-reverse_error",
        "vowels.composite-conditional_accuracy",
        "vowels.composite-conditional-reverse_accuracy",
    ],
    "the LSTM": ["anomalies.auc", "anomalies.steps_off"],
    "aeon's DWT-MLEAD": ["anomalies.dwt_mlead_auc", "anomalies.dwt_mlead_steps_off"],
    "aeon's KMeansAD": ["anomalies.kmeansad_auc", "anomalies.kmeansad_steps_off"],
    "the LSTM's forecast": ["prices.share_known"],
    "RiskMetrics' moving average": ["prices.riskmetrics_share_known"],
}
README = {
    "`echo --preset length1000`": ["echo_length1000.accuracy"],
    "`cumsum --preset longer`": [
        "cumsum_longer.step_accuracy_at_100",
        "cumsum_longer.sequence_accuracy_at_100",
    ],
    "`langid --preset best`": [
        "langid_best.auc",
        "langid_best.auc_with_ngram",
        "langid_best.auc_ngram",
        "langid_best.auc_py3langid",
        "langid_best.auc_lingua",
    ],
    "`manylang --preset best`": [
        "manylang_best.together_20",
        "manylang_best.with_ngram_20",
        "manylang_best.ngram_20",
        "manylang_best.lingua_20",
        "manylang_best.py3langid_20",
    ],
    "`sentiment --preset best`": [
        "sentiment_best.accuracy",
        "sentiment_best.accuracy_together",
        "sentiment_best.accuracy_bag_of_words",
    ],
    "`sentiment --preset self_trained`": [
        "sentiment_self_trained.accuracy",
        "sentiment_self_trained.accuracy_together",
        "sentiment_self_trained.accuracy_bag_of_words",
    ],
    "`sentiment --preset few_labels`": [
        "sentiment_few_labels.accuracy",
        "sentiment_few_labels_not_pretrained.accuracy",
    ],
    "`vowels`": [
        "vowels.accuracy",
        "vowels.untrained_accuracy",
        "vowels.rocket_accuracy",
        "vowels.dtw_accuracy",
    ],
    "`anomalies`": ["anomalies.auc", "anomalies.dwt_mlead_auc", "anomalies.kmeansad_auc"],
    "`prices`": ["prices.share_known", "prices.riskmetrics_share_known"],
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
