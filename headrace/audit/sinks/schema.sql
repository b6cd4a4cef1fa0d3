-- Entries of all journals. Nothing is ever updated or deleted: the router's role may insert and select, no more.
CREATE SCHEMA IF NOT EXISTS headrace;

CREATE TABLE IF NOT EXISTS headrace.entries (
    writer     text   NOT NULL,
    sequence   bigint NOT NULL CHECK (sequence >= 0),
    previous   bytea  NOT NULL CHECK (length(previous) = 32),
    hash       bytea  NOT NULL CHECK (length(hash) = 32),
    record     bytea  NOT NULL,
    kind       text   NOT NULL,
    request_id text   NOT NULL,
    at         timestamptz NOT NULL,
    body       jsonb  NOT NULL,
    PRIMARY KEY (writer, sequence)
);

-- Each request has one outcome: a second one can't be stored, whoever sends it.
CREATE UNIQUE INDEX IF NOT EXISTS one_outcome ON headrace.entries (request_id)
    WHERE kind IN ('post', 'void', 'expire', 'refuse');
CREATE INDEX IF NOT EXISTS by_time ON headrace.entries (at);

-- One row for each request, under the names that `headrace plan` reads.
CREATE OR REPLACE VIEW headrace.requests AS
SELECT request_id,
       at                                                          AS timestamp,
       body ->> 'environment'                                      AS environment,
       body ->> 'tenant'                                           AS tenant,
       body ->> 'project'                                          AS project,
       body ->> 'feature'                                          AS feature,
       body ->> 'workload'                                         AS model,
       body ->> 'release'                                          AS release,
       body ->> 'release_digest'                                   AS release_digest,
       body ->> 'pool'                                             AS pool,
       body ->> 'region'                                           AS region,
       body ->> 'gpu'                                              AS gpu,
       body ->> 'reason'                                           AS reason,
       body ->> 'decision'                                         AS decision,
       COALESCE((body ->> 'spilled')::boolean, false)              AS spilled,
       COALESCE((body ->> 'cold')::boolean, false)                 AS cold,
       body ->> 'outcome'                                          AS outcome,
       COALESCE((body ->> 'status')::int, 0)                       AS status,
       COALESCE((body ->> 'tokens_in')::bigint, 0)                 AS tokens_in,
       COALESCE((body ->> 'tokens_out')::bigint, 0)                AS tokens_out,
       COALESCE((body ->> 'wait_us')::bigint, 0) / 1e6             AS wait_s,
       COALESCE((body ->> 'first_token_us')::bigint, 0) / 1e6      AS first_token_s,
       COALESCE((body ->> 'latency_us')::bigint, 0) / 1e6          AS latency_s,
       COALESCE((body ->> 'cost_nano')::numeric, 0) / 1e9          AS cost_usd,
       body ->> 'price_version'                                    AS price_version,
       body ->> 'policy_version'                                   AS policy_version,
       body ->> 'prompt_hash'                                      AS prompt_hash,
       writer,
       sequence
FROM headrace.entries
WHERE kind IN ('post', 'void', 'expire', 'refuse');
