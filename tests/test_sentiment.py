"""Sentiment at a tiny size: the original model, the pooled one, what it reads before and beside its labels."""

import json
import tarfile
from io import BytesIO

import jax
import numpy as np
import pytest
from commands import check_result, error_of, rows_of, run

from experiments import sentiment
from experiments.command import main
from experiments.keys import keys_for
from experiments.session import Options

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A stand-in for the reviews, where one word decides."""
    path = tmp_path_factory.mktemp("data") / "aclImdb_v1.tar.gz"
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as archive:
        for split in ("train", "test"):
            for label, word in (("pos", "wonderful"), ("neg", "dreadful")):
                for index in range(40):
                    words = [*rng.choice(["a", "film", "of", "its", "time"], 6), word]
                    content = " ".join(rng.permutation(words)).encode()
                    member = tarfile.TarInfo(f"aclImdb/{split}/{label}/{index}_1.txt")
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
        for index in range(10):
            content = " ".join(rng.permutation(["a", "film", "of", "its", "time"])).encode()
            member = tarfile.TarInfo(f"aclImdb/train/unsup/{index}_0.txt")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return path


def test_sentiment(tmp_path, reviews, capsys):
    folder, result = run(
        tmp_path, "sentiment", "--data-dir", str(reviews), "--num-words", "20", "--length", "8", "--epochs", "12",
        "--hidden-size", "8", "--embedding-size", "8", "--batch-size", "4", "--learning-rate", "0.02",
        "--patience", "12", "--validation-fraction", "0.2",
    )  # fmt: skip
    check_result(folder, result, "sentiment", {"accuracy"}, ["learning.png", "confusion.png", "examples.png"])
    assert result["metrics"]["accuracy"] > 0.9
    capsys.readouterr()
    for text, verdict in (("A wonderful film", "positive"), ("a dreadful film", "negative")):
        assert main(["sentiment", "--predict", text, "--from", str(folder)]) == 0
        out = capsys.readouterr().out
        assert out.startswith(verdict)
        assert "unknown" not in out
    line = error_of(capsys, "sentiment", "--predict", "!!!", "--from", str(folder))
    assert line == "error: --predict: expected at least one word, got none"
    assert main(["sentiment", "--predict", "A wonderful xyzzy film", "--from", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("1 of the 4 words that it has read are unknown to it\n")


def test_sentiment_of_the_fewest_reviews(tmp_path, reviews, monkeypatch, capsys):
    measured, accuracies = [], sentiment.accuracies
    monkeypatch.setattr(sentiment, "accuracies", lambda *given: measured.append(len(given[1])) or accuracies(*given))
    few = ["--data-dir", str(reviews), "--num-words", "20", "--length", "8", "--max-reviews", "10", "--epochs", "1"]
    run(tmp_path, "sentiment", *few, "--hidden-size", "4", "--embedding-size", "4")
    assert "9 reviews to learn from, 1 to choose the epoch on" in capsys.readouterr().out
    assert measured == [10]  # of the test set


def test_sentiment_pooled(tmp_path, reviews, capsys):
    folder, result = run(
        tmp_path, "sentiment", "--preset", "best", "--data-dir", str(reviews), "--num-words", "20", "--length", "8",
        "--epochs", "8", "--hidden-size", "4", "--embedding-size", "8", "--batch-size", "4", "--learning-rate", "0.02",
        "--patience", "8", "--validation-fraction", "0.2", "--validation-run", "4", "--bigrams", "30",
        "--trigrams", "40", "--ngram-size", "3", "--models", "1",
    )  # fmt: skip
    assert result["metrics"]["accuracy"] > 0.9
    assert result["metrics"]["accuracy_bag_of_words"] > 0.85
    assert result["metrics"]["accuracy_together"] > 0.85
    ngrams = json.loads((folder / "ngrams.json").read_text())
    assert [len(of_order) for of_order in ngrams] == [30, 40]
    assert [{len(ngram.split()) for ngram in of_order} for of_order in ngrams] == [{2}, {3}]
    capsys.readouterr()
    assert main(["sentiment", "--predict", "a dreadful film", "--from", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("negative")


def test_sentiment_pretrained(tmp_path, reviews, monkeypatch):
    read, learnt = [], []
    original = sentiment.pretrain

    def pretrain(run, parts, *rest):
        read.append((len(parts.train.ids), len(parts.validation.ids), len(parts.unlabelled)))
        learnt.append(original(run, parts, *rest))
        return learnt[-1]

    train = sentiment.train

    def note_the_start(run, starts, *rest):
        (start,) = starts
        fresh = sentiment.init(jax.random.split(jax.random.key(run.config.seed), 4)[0], run.config)
        assert not np.array_equal(learnt[0][0], fresh.embeddings[0])
        expected = fresh._replace(embeddings=(learnt[0][0], *fresh.embeddings[1:]))  # the rest is as it would be
        for got, want in zip(*map(jax.tree.leaves, (start, expected)), strict=True):
            np.testing.assert_array_equal(got, want)
        return train(run, starts, *rest)

    monkeypatch.setattr(sentiment, "train", note_the_start)
    monkeypatch.setattr(sentiment, "pretrain", pretrain)
    folder, result = run(
        tmp_path, "sentiment", "--preset", "pretrained", "--data-dir", str(reviews), "--num-words", "20",
        "--length", "8", "--epochs", "8", "--hidden-size", "4", "--embedding-size", "8", "--batch-size", "4",
        "--learning-rate", "0.02", "--patience", "8", "--validation-fraction", "0.2",
        "--pretraining-epochs", "2", "--pretraining-skipped", "0", "--validation-run", "1", "--bigrams", "30",
        "--models", "1",
    )  # fmt: skip
    assert read == [(64, 16, 10)]
    assert result["metrics"]["accuracy"] > 0.7
    assert [row["epoch"] for row in rows_of(folder) if row.get("model") == "pretraining"] == [1, 2]
    assert (folder / "pretraining.png").read_bytes().startswith(b"\x89PNG")


def test_sentiment_self_trained(tmp_path, reviews, monkeypatch):
    taught, judges = [], []
    train, judges_of = sentiment.train, sentiment.judges_of

    def note_what_is_taught(run, starts, examples, *rest):
        params, *others = train(run, starts, examples, *rest)
        taught.append((starts, examples, params.members))
        return params, *others

    def note_the_judges(*arguments):
        judges.append(judges_of(*arguments))
        return judges[-1]

    monkeypatch.setattr(sentiment, "train", note_what_is_taught)
    monkeypatch.setattr(sentiment, "judges_of", note_the_judges)
    folder, result = run(
        tmp_path, "sentiment", "--preset", "self_trained", "--data-dir", str(reviews), "--num-words", "20",
        "--length", "8", "--epochs", "6", "--hidden-size", "8", "--embedding-size", "8", "--batch-size", "4",
        "--learning-rate", "0.02", "--dropout", "0", "--patience", "8", "--validation-fraction", "0.2",
        "--validation-run", "1",
        "--pretraining-epochs", "1", "--pretraining-skipped", "0", "--bigrams", "30", "--trigrams", "30",
        "--models", "2", "--self-training-rounds", "2", "--self-training-epochs", "6",
    )  # fmt: skip
    (starts, labelled, teachers), (starts_of_students, examples, students), (_, again, _) = taught
    assert (len(labelled.ids), len(examples.ids)) == (64, 74)
    # The students start where their teachers did, and learn their judgements of the reviews without a label.
    for first, second in zip(*map(jax.tree.leaves, (starts, starts_of_students)), strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(examples.labels[:64], labelled.labels)
    for judge, learnt in zip(judges, (examples, again), strict=False):
        logits = judge.logits(examples.ids[64:], Options())["together"]
        np.testing.assert_allclose(learnt.labels[64:], 1 / (1 + np.exp(-logits)), rtol=1e-5)
    assert len(judges) == 3
    assert all(one.params.members is members for one, (*_, members) in zip(judges, taught, strict=True))
    # The two of a round start and end apart, but for the word vectors that they start from, and judge together.
    np.testing.assert_array_equal(*(start.embeddings[0] for start in starts))
    assert not np.array_equal(*(start.embeddings[1] for start in starts))
    assert len(starts) == len(teachers) == len(students) == 2
    for one, other in (students, (students[0], teachers[0])):
        assert not np.array_equal(one.embeddings[0], other.embeddings[0])
    each = [sentiment.logits_of(params, examples.ids) for params in students]
    logits = judges[1].logits(examples.ids, Options())["lstm"]
    np.testing.assert_allclose(logits, np.mean(each, axis=0), rtol=0, atol=1e-5)
    for name in ("model_2", "self_training_1", "self_training_1_model_2", "self_training_2_model_2"):
        epochs = [row["epoch"] for row in rows_of(folder) if row.get("model") == name]
        assert epochs == [1, 2, 3, 4, 5, 6]
    assert all(result["metrics"][name] > 0.8 for name in ("accuracy", "accuracy_bag_of_words", "accuracy_together"))


def test_no_models_key_is_part_of_anothers():
    keys = keys_for(3, jax.random.key(0))
    parts = np.concatenate([jax.random.key_data(jax.random.split(key, 9)) for key in keys])  # by which each is drawn
    drawn = {tuple(part) for part in (*parts.tolist(), *(jax.random.key_data(key).tolist() for key in keys))}
    assert len(drawn) == 3 * 9 + 3
    assert keys_for(1, jax.random.key(0)) == [jax.random.key(0)]
