"""What the suite finds that workers must not do."""

#: kind -> what was found; oracle_test.py makes each of them.
KINDS = {
    "strange": "an output that should not be",
    "twice": "an output one too many",
    "missing": "an output one too few",
    "order": "outputs in another order than their input",
    "counts": "counts that the store numbers otherwise",
    "milestones": "too many or too few of them, or others",
    "rounds": "what came back as input, or went on from there: too many or too few, others, in another order, counted otherwise",
    "titles": "what a stage saw of a global table is not what stood there",
    "timers": "those that fired, or are set still, are not those that must be",
    "parked": "a row that waits for good",
    "dead letters": "too many or too few of them, or others",
    "store": "a changelog ends with something else than the input gives",
    "offsets": "where the group stands is not the end of the input",
    "open": "a transaction that stays open",
    "members": "the group keeps a member that has left",
    "stuck": "a worker that does not go on, is not idle or does not leave",
    "ended": "a worker that ended as none may",
    "unbalanced": "rows that a worker itself cannot account for",
}


class Finding(AssertionError):
    """The workers did what they must not. `kind` is one of KINDS."""

    def __init__(self, kind, what):
        assert kind in KINDS, kind
        super().__init__(f"{kind}: {what}")
        self.kind = kind


def must(holds, kind, what):
    if not holds:
        raise Finding(kind, what)
