"""Bugs of the way from an event to an answer."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_BACKFILL = ("tests/unit/test_backfill.py",)
_CHANGES = ("tests/unit/test_changes.py",)
_CREDIT = ("tests/unit/test_credit.py",)
_INBOUND = ("tests/unit/test_inbound.py",)
_INTERACTIONS = ("tests/unit/test_interactions.py",)
_JOBS = ("tests/unit/test_jobs.py", "tests/unit/test_pipeline.py")
_OVERLOAD = ("tests/unit/test_overload.py",)
_RECONCILE = ("tests/unit/test_reconcile.py",)
_ANSWER_ORDER = ("tests/unit/test_answer_order.py",)
_REPLY = ("tests/unit/test_reply.py",)

MUTANTS = (
    Mutant(
        "a claim that failed stays in the memory: the message is a duplicate for ever",
        "conversation/claim.py",
        "            self._memory.pop(inbound.message_id, None)\n            raise",
        "            raise",
        _INBOUND,
    ),
    Mutant(
        "the memory of claims grows without bound",
        "conversation/claim.py",
        "if len(self._memory) > self._memory_max:",
        "if len(self._memory) < 0:",
        _INBOUND,
    ),
    Mutant(
        "a message that was claimed before is claimed again",
        "conversation/ledger/job_store.py",
        "ON CONFLICT (message_id) DO NOTHING RETURNING message_id",
        "ON CONFLICT (message_id) DO UPDATE SET state = 'waiting' RETURNING message_id",
        _INBOUND,
    ),
    Mutant(
        "the session's place is not stored with the claim",
        "conversation/ledger/job_store.py",
        "            if place is not None:",
        "            if place is None:",
        _JOBS,
    ),
    Mutant(
        "a claim stores a place beyond one that is not durable",
        "conversation/intake/place.py",
        "first = step is not None and bool(self._steps) and self._steps[0] is step",
        "first = step is not None",
        _INBOUND,
    ),
    Mutant(
        "the place moves past what is not stored yet",
        "conversation/intake/place.py",
        "        while self._steps and self._steps[0].passed:",
        "        while self._steps:",
        _INBOUND,
    ),
    Mutant(
        "a message is begun before its claim is durable",
        "conversation/claim.py",
        "            fresh = await self._store.claim(inbound, priority, cursor, after=after)",
        "            fresh = bool(self._store.claim(inbound, priority, cursor, after=after))",
        _INBOUND,
    ),
    Mutant(
        "an announced session hides the gap before the next one",
        "conversation/inbound.py",
        "if cursor.session_id != self._announced:",
        "if not self._announced:",
        _BACKFILL,
    ),
    Mutant(
        "a session that was lost before it was announced counts as resumed",
        "conversation/inbound.py",
        "if resumed and session_id not in (self._session_id, self._announced):",
        "if resumed and session_id is None:",
        _BACKFILL,
    ),
    Mutant(
        "back-fill reads one page of a channel and calls it whole",
        "conversation/missed/backfill.py",
        "            if len(page) < _PAGE:",
        "            if len(page) <= _PAGE:",
        _BACKFILL,
    ),
    Mutant(
        "a channel that could not be read counts as searched",
        "conversation/missed/backfill.py",
        "            except TransientError:\n                return number, accepted, False",
        "            except TransientError:\n                return number, accepted, True",
        _BACKFILL,
    ),
    Mutant(
        "back-fill answers other bots",
        "conversation/missed/backfill.py",
        "if message.author_is_bot or message.author_is_us:",
        "if message.author_is_us:",
        _BACKFILL,
    ),
    Mutant(
        "what came live does not wait for what was missed before it",
        "conversation/missed/gap_hold.py",
        "if not came_live or not self._gap.holds(job.inbound.channel_id):",
        "if not came_live or self._gap.open:",
        (*_BACKFILL, *_INBOUND),
    ),
    Mutant(
        "a life does not know that an earlier one had begun to answer",
        "conversation/ledger/job_rows.py",
        'in_flight_before=state in ("leased", "generating", "delivering"),',
        "in_flight_before=False,",
        ("tests/unit/test_pipeline.py", "tests/unit/test_reply.py", "tests/unit/test_jobs.py"),
    ),
    Mutant(
        "a message that ends every life is tried for ever",
        "conversation/admission.py",
        "if job.attempts > often * self.settings.attempts_max:",
        "if job.attempts < 0:",
        ("tests/unit/test_admission.py", "tests/unit/test_pipeline.py"),
    ),
    Mutant(
        "a notice that did not land ends its message",
        "conversation/trouble.py",
        "            self._put_back(job, second)\n        except Exception",
        "            self._queue.move(job, JobState.NOTICED, 'x')\n        except Exception",
        _REPLY,
    ),
    Mutant(
        "overload sheds who was promised an answer",
        "conversation/queue.py",
        "        if victim.message_id in self._kept:",
        "        if victim is None:",
        _OVERLOAD,
    ),
    Mutant(
        "overload sheds an answer that waits for Discord",
        "conversation/queue.py",
        "            if job.answer is not None or job.noticed:",
        "            if job.priority is None:",
        _OVERLOAD,
    ),
    Mutant(
        "an edited question keeps the answer to the former one",
        "conversation/queue.py",
        "job.inbound, job.answer = inbound, None",
        "job.inbound = inbound",
        _CHANGES,
    ),
    Mutant(
        "an edit interrupts an answer that stands there already",
        "conversation/changes.py",
        "if self._task is None or self._reply.has_spoken:",
        "if self._task is None:",
        _CHANGES,
    ),
    Mutant(
        "a stop in the moment of an edit is taken for the edit",
        "conversation/changes.py",
        "return ours_alone and isinstance(error, asyncio.CancelledError)",
        "return isinstance(error, asyncio.CancelledError)",
        _CHANGES,
    ),
    Mutant(
        "parts of an earlier, longer text stay below the answer",
        "conversation/replies/reply.py",
        "        if len(self._shown) > len(parts):",
        "        if len(self._shown) < 0:",
        ("tests/crash/test_bot_turns.py",),
    ),
    Mutant(
        "an answer given back by its nonce is not made equal to this one",
        "conversation/replies/reply.py",
        "stands = text if sent.content.strip() == text.strip() else sent.content",
        "stands = text",
        _REPLY,
    ),
    Mutant(
        "an answer is edited into a notice above an earlier answer",
        "conversation/ledger/parts.py",
        "        if self._reached.get(job.order_key, 0) > discord_id:",
        "        if self._reached.get(job.order_key, 0) < 0:",
        _ANSWER_ORDER,
    ),
    Mutant(
        "a notice of overload to a later message moves an answer",
        "conversation/ledger/job_store.py",
        "        if after is JobState.DONE:",
        "        if ended:",
        _ANSWER_ORDER,
    ),
    Mutant(
        "a part that a dead process deleted is taken for one that stands",
        "conversation/replies/reply.py",
        "            overtaken = place < self._shown[number - 1].discord_id",
        "            overtaken = False",
        _ANSWER_ORDER,
    ),
    Mutant(
        "a later claim is stored while an earlier one of its author is refused",
        "conversation/claim.py",
        "await self._store.claim(inbound, priority, cursor, after=after)",
        "await self._store.claim(inbound, priority, cursor)",
        _INBOUND,
    ),
    Mutant(
        "the place of an earlier life's answer is not known",
        "conversation/ledger/parts.py",
        "        if not of_earlier_life:",
        "        if discord_id:",
        _ANSWER_ORDER,
    ),
    Mutant(
        "our parts are not found again after a crash",
        "conversation/replies/sinks.py",
        "            return message.reply_to == self._question_id",
        "            return message.id == self._question_id",
        (*_REPLY, "tests/unit/test_pipeline.py"),
    ),
    Mutant(
        "a second message to a command that landed unheard of is sent again",
        "conversation/replies/reply.py",
        "            self._job.unsure = self._lost_one = True\n            raise",
        "            raise",
        _INTERACTIONS,
    ),
    Mutant(
        "a command whose place is gone is never answered",
        "conversation/replies/sinks.py",
        "        raise InteractionEndedError(str(gone), retry_after_s=0.0) from gone",
        "        raise",
        _INTERACTIONS,
    ),
    Mutant(
        "the reconciler takes an open message up at first sight",
        "conversation/ledger/reconcile.py",
        "in sorted(self._suspects & suspects):",
        "in sorted(self._suspects):",
        _RECONCILE,
    ),
    Mutant(
        "the reconciler takes another's message for a surplus of ours",
        "conversation/ledger/readings.py",
        "if answered is None or not message.author_is_us or message.id in answered.parts:",
        "if answered is None or message.id in answered.parts:",
        _RECONCILE,
    ),
    Mutant(
        "the reconciler deletes what stands for a reply that is gone",
        "conversation/ledger/readings.py",
        "        if not await self._stands(answered):",
        "        if not answered.parts:",
        _RECONCILE,
    ),
    Mutant(
        "each round of the reconciler begins with the same channel",
        "conversation/ledger/readings.py",
        "                self._begun[channel_id] = reading",
        "                self._begun = {channel_id: reading, **self._begun}",
        _RECONCILE,
    ),
    Mutant(
        "a message grows by one character past what Discord takes",
        "conversation/splitting.py",
        "DISCORD_MESSAGE_LENGTH_MAX = 2000",
        "DISCORD_MESSAGE_LENGTH_MAX = 2001",
        ("tests/unit/test_splitting.py",),
    ),
    Mutant(
        "an answer from one channel is given in another",
        "conversation/models/answer_cache.py",
        "return (inbound.channel_id, job.rules.persona or self.persona, text)",
        "return (0, job.rules.persona or self.persona, text)",
        ("tests/unit/test_answer_cache.py",),
    ),
    Mutant(
        "files are fetched from any host",
        "conversation/attachments.py",
        "return named in self.settings.hosts",
        "return bool(named)",
        ("tests/unit/test_attachments.py",),
    ),
)
