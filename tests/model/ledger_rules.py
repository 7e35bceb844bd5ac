"""The rules of the run ledger: each of them is needed (`NEEDED` in `test_ledger_model` shows a run without it)."""

RULES = frozenset(
    {
        "live_read",  # trigger read live before the POST: runs and commit still those decided on
        "settle_first",  # an unsettled Job known to the informer is settled before deciding
        "settle_lowers",  # settling sets `handled` to the Job's own request, even if that lowers it
        "skip_tests",  # a skip's write tests runs and commit
        "settle_from_job",  # 409: settle from the existing Job's annotations, then start again
        "unknown_rereads",  # an unknown POST goes back to the live read, never straight to the POST
        "settle_highest",  # of several unsettled Jobs the highest is settled
        "own_writes",  # a replica never reads an entry older than its own last write
        "announced_waits",  # an announced commit that git does not show keeps its request open, for 30 s
        "fired_waits",  # also when another new commit is shown, and runs
        "numbers_allowed",  # a Job counts only if the entry allows its number: a recorded one, or the next
        "fresh_allows",  # a fresh entry (no commit recorded: new, or wiped) allows any number
        "edited_raises",  # a number that cannot be right reads as one above all; as none, old Jobs would settle again
        "age_when_asked",  # an announcement's age is that of the moment when git was asked, not when it answered
        "kept_after_due",  # an answer to another check answers a scheduled one if it was sent after its scheduled time
        "kept_same",  # and shows the commit that is recorded: what is new is asked for again
        "kept_for_polls",  # a delivery is answered by none that was sent before it
        "run_request_of_job",  # settling handles the requested runs that the Job was made for, not later ones
        "deletion_forgets",  # settling the Job of a deletion leaves no commit, so that a re-created reference runs
        "deletion_confirmed",  # a reference is deleted when two complete answers, the second one later, lack it
        "numbers_go_on",  # an entry that is pruned leaves its number of runs to the one that follows it
        "number_reserved",  # a run's number is that of an entry which exists, and stays while its Job is created
        "pruned_late",  # the entry of a deleted reference is pruned when no check that read it is under way any more
        "retry_of_last",  # only the last run of the entry is run again: not when a newer one was recorded
        "retry_handles_nothing",  # settling a retry leaves `handled` as it is: it sent no request to git
        "attempt_on_job",  # which attempt it is follows from the failed Job, not from a memory
        "ttl_after_retry",  # a failed Job gets its TTL when its retry was decided, not before
        "wait_handles_nothing",  # a check whose change waits leaves its requests and its scheduled time open
    }
)
