from tests.faults.ledger import Ledger, Section, run_sections, table


def sections(tried):
    """Two sections of which one trial fails; what is tried is noted."""

    def trial(name, wrong=()):
        return lambda: (tried.append(name), list(wrong))[1]

    return [
        Section("one", "a", {f"t{n}": trial(f"one {n}") for n in range(3)}),
        Section("two", "b", {"u": trial("two u", ["it broke"])}),
        Section("three", "c", {}, skipped="no strace"),
    ]


def ticking():
    """A clock that goes on by a second each time it is looked at."""
    now = [0.0]

    def clock():
        now[0] += 1
        return now[0]

    return clock


def test_goes_on_where_it_was_stopped(tmp_path):
    path = tmp_path / "new" / "ledger.jsonl"
    tried = []
    run_sections(sections(tried), Ledger(path, "a"), seconds=6, clock=ticking())
    assert tried == ["one 0", "two u"]
    path.write_text(path.read_text() + '{"subject": "a", "sec')
    ledger = Ledger(path, "a")
    assert ledger.done == {"one": {"t0": []}, "two": {"u": ["it broke"]}}
    run_sections(sections(tried), ledger, seconds=1000, clock=ticking())
    assert tried == ["one 0", "two u", "one 1", "one 2"]
    assert Ledger(path, "a").done == ledger.done


def test_what_a_failure_has_left_is_kept_before_the_next_trial(tmp_path):
    events = []
    ledger = Ledger(tmp_path / "ledger.jsonl", "a")
    run_sections(
        sections(events), ledger, 100, clock=ticking(), keep=lambda *at: events.append(at)
    )
    assert events[events.index("two u") + 1] == ("two", "u")
    assert len(events) == 5


def test_a_trial_that_cannot_end_is_a_failure_and_the_others_go_on(tmp_path):
    def hang():
        raise TimeoutError("60 s")

    ledger = Ledger(tmp_path / "ledger.jsonl", "a")
    run_sections([Section("one", "a", {"t": hang, "u": list})], ledger, 100, clock=ticking())
    assert ledger.done == {"one": {"t": ["TimeoutError: 60 s"], "u": []}}


def test_trials_of_another_program_do_not_count(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path, "a").add("one", "t0", [])
    assert Ledger(path, "b").done == {}


def test_the_table_counts_trials_and_names_failures(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", "a")
    run_sections(sections([]), ledger, seconds=1000, clock=ticking())
    text = table(sections([]), ledger)
    assert "4 trials, 1 failures; " in text
    assert "| one | a | 3 of 3 | 0 |" in text
    assert "| two | b | 1 of 1 | 1 |" in text
    assert "| three | c | none: no strace | 0 |" in text
    assert "- two, u: it broke" in text
