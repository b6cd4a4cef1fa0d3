-- What the hourly floor keeps (docs/planner/hourly.md): finished windows of demand, so that no run reads a month of
-- requests, and every decision with what it rested on.

-- The ledger as far as demand needs it: when a request held a model server, and of which workload. No tenant, no user,
-- no hash. The wait for a place is not held time. An entry without a tenant is the router's own start of an instance.
CREATE OR REPLACE VIEW headrace.work AS
SELECT kind,
       request_id,
       at,
       body ->> 'workload'                                                                   AS workload,
       GREATEST(COALESCE((body ->> 'latency_us')::bigint, 0)
                - COALESCE((body ->> 'wait_us')::bigint, 0), 0) / 1e6                        AS held_s,
       COALESCE((body ->> 'cold')::boolean, false)                                           AS cold
FROM headrace.entries
WHERE kind IN ('reserve', 'post', 'void', 'expire', 'refuse') AND COALESCE(body ->> 'tenant', '') <> '';

CREATE TABLE IF NOT EXISTS headrace.demand_windows (
    workload  text        NOT NULL,
    starts_at timestamptz NOT NULL,
    arrivals  bigint      NOT NULL CHECK (arrivals >= 0),
    in_flight double precision[] NOT NULL CHECK (cardinality(in_flight) = 60),
    heard     boolean     NOT NULL,
    PRIMARY KEY (workload, starts_at)
);

-- One decision for each pool and hour. A second run in the hour applies the first one's.
CREATE TABLE IF NOT EXISTS headrace.floor_decisions (
    pool            text        NOT NULL,
    hour            timestamptz NOT NULL,
    decided_at      timestamptz NOT NULL,
    nodes           int         NOT NULL CHECK (nodes >= 0),
    reason          text        NOT NULL,
    wanted_replicas int         NOT NULL,
    floor_nodes     int         NOT NULL,
    ceiling_nodes   int         NOT NULL,
    history_hours   int         NOT NULL,
    gap_windows     int         NOT NULL,
    mean_replicas   double precision NOT NULL,
    peak_replicas   int         NOT NULL,
    saved_usd_hour  double precision,
    compared_hours  int         NOT NULL,
    price_version   text        NOT NULL,
    nodes_before    int,
    applied_at      timestamptz,
    PRIMARY KEY (pool, hour)
);
