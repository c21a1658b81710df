"""The tables of the conversation, as migrations that both databases understand."""

from __future__ import annotations

from llmbot.storage.database.opening import Migration

SET_META = """
INSERT INTO meta (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
"""Keep a small fact under a name."""


def after_a_jump_back(now_s: float) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What must change in a database of yesterday before a bot may live on with it.

    What waited then may have been answered since: it becomes dead letters, which operators can see
    and revive; and nothing is searched for among the messages of the time that is not in it.
    """
    return (
        ("UPDATE jobs SET state = 'dead' WHERE state NOT IN ('done', 'noticed', 'dead')", ()),
        (SET_META, ("gap", "")),
        (SET_META, ("gateway_session", "")),
        (SET_META, ("gateway_heard_s", f"{now_s:.3f}")),
    )


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        version=1,
        statements=(
            # One row is the claim, the queue entry and the outcome of one message. Ended rows stay
            # as the record that prevents a second answer, without their texts.
            """
            CREATE TABLE jobs (
                message_id BIGINT PRIMARY KEY,
                channel_id BIGINT NOT NULL,
                guild_id BIGINT,
                author_id BIGINT NOT NULL,
                is_direct INTEGER NOT NULL,
                priority INTEGER NOT NULL,
                state TEXT NOT NULL,
                attempts INTEGER NOT NULL,
                owner TEXT NOT NULL,
                created_s DOUBLE PRECISION NOT NULL,
                due_s DOUBLE PRECISION NOT NULL,
                updated_s DOUBLE PRECISION NOT NULL,
                payload TEXT NOT NULL,
                answer TEXT,
                answer_note TEXT,
                noticed TEXT
            )
            """,
            """
            CREATE INDEX jobs_unfinished ON jobs (message_id)
            WHERE state NOT IN ('done', 'noticed', 'dead')
            """,
            "CREATE INDEX jobs_channel ON jobs (channel_id, message_id)",
            """
            CREATE TABLE parts (
                message_id BIGINT NOT NULL,
                part INTEGER NOT NULL,
                discord_id BIGINT NOT NULL,
                sent_s DOUBLE PRECISION NOT NULL,
                PRIMARY KEY (message_id, part)
            )
            """,
            "CREATE INDEX parts_discord ON parts (discord_id)",
            """
            CREATE TABLE story (
                message_id BIGINT NOT NULL,
                number BIGINT NOT NULL,
                at_s DOUBLE PRECISION NOT NULL,
                fact TEXT NOT NULL,
                detail TEXT NOT NULL,
                PRIMARY KEY (message_id, number)
            )
            """,
            """
            CREATE TABLE memory (
                channel_id BIGINT NOT NULL,
                message_id BIGINT NOT NULL,
                author_id BIGINT NOT NULL,
                author_name TEXT NOT NULL,
                by_us INTEGER NOT NULL,
                text TEXT NOT NULL,
                PRIMARY KEY (channel_id, message_id, by_us)
            )
            """,
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        ),
    ),
    Migration(
        version=2,
        statements=(
            # Replies that a call of an earlier life may still overwrite keep their text meanwhile.
            """
            CREATE INDEX jobs_unproven ON jobs (message_id)
            WHERE answer IS NOT NULL AND state IN ('done', 'noticed')
            """,
        ),
    ),
)
