-- The schema of the store at revision 0004, on SQLite. Written by
-- `python -m evomerge.store.golden` from db/migrations; do not edit. What tables and columns mean is
-- said in evomerge/store/schema.py.

CREATE TABLE archives (
    search_id TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    outcomes INTEGER NOT NULL,
    created_at DOUBLE NOT NULL,
    deleted_at DOUBLE,
    CONSTRAINT pk_archives PRIMARY KEY (search_id),
    CONSTRAINT ck_archives_outcomes CHECK (outcomes >= 0),
    CONSTRAINT fk_archives_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);

CREATE TABLE asks (
    candidate_id INTEGER NOT NULL,
    tells INTEGER NOT NULL,
    CONSTRAINT pk_asks PRIMARY KEY (candidate_id),
    CONSTRAINT ck_asks_tells CHECK (tells >= 0),
    CONSTRAINT fk_asks_candidates FOREIGN KEY(candidate_id) REFERENCES candidates (id)
);

CREATE TABLE attempts (
    evaluation_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at DOUBLE NOT NULL,
    finished_at DOUBLE,
    error_type TEXT,
    error TEXT,
    merge_seconds DOUBLE,
    load_seconds DOUBLE,
    forward_seconds DOUBLE,
    overhead_seconds DOUBLE,
    tokens BIGINT,
    late_scores TEXT,
    CONSTRAINT pk_attempts PRIMARY KEY (evaluation_id, number),
    CONSTRAINT ck_attempts_status CHECK (status IN ('running', 'scored', 'failed', 'lost', 'late')),
    CONSTRAINT fk_attempts_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id)
);

CREATE INDEX ix_attempts_finished_at ON attempts (finished_at);

CREATE INDEX ix_attempts_mishaps ON attempts (finished_at) WHERE status IN ('failed', 'lost', 'late');

CREATE UNIQUE INDEX uq_attempts_one_running ON attempts (evaluation_id) WHERE status = 'running';

CREATE UNIQUE INDEX uq_attempts_one_scored ON attempts (evaluation_id) WHERE status = 'scored';

CREATE TABLE candidates (
    id INTEGER NOT NULL,
    search_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    origin TEXT NOT NULL,
    generation INTEGER,
    label TEXT,
    recipe_id TEXT NOT NULL,
    recipe TEXT NOT NULL,
    genome TEXT,
    told INTEGER,
    loss DOUBLE,
    created_at DOUBLE NOT NULL,
    CONSTRAINT pk_candidates PRIMARY KEY (id),
    CONSTRAINT uq_candidates_search_id_number UNIQUE (search_id, number),
    CONSTRAINT uq_candidates_search_id_told UNIQUE (search_id, told),
    CONSTRAINT uq_candidates_id_search_id_recipe_id UNIQUE (id, search_id, recipe_id),
    CONSTRAINT ck_candidates_origin CHECK (origin IN ('baseline', 'search')),
    CONSTRAINT ck_candidates_number CHECK (number >= 0),
    CONSTRAINT ck_candidates_told CHECK ((told IS NULL) = (loss IS NULL)),
    CONSTRAINT fk_candidates_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);

CREATE INDEX ix_candidates_search_id_recipe_id ON candidates (search_id, recipe_id);

CREATE TABLE evaluations (
    id INTEGER NOT NULL,
    candidate_id INTEGER NOT NULL,
    search_id TEXT NOT NULL,
    recipe_id TEXT NOT NULL,
    split TEXT NOT NULL,
    status TEXT,
    copied_from INTEGER,
    attempts INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    fitness DOUBLE,
    fitness_stderr DOUBLE,
    violation DOUBLE,
    error_type TEXT,
    error TEXT,
    retryable BOOLEAN NOT NULL,
    created_at DOUBLE NOT NULL,
    CONSTRAINT pk_evaluations PRIMARY KEY (id),
    CONSTRAINT uq_evaluations_candidate_id_split UNIQUE (candidate_id, split),
    CONSTRAINT fk_evaluations_candidates FOREIGN KEY(candidate_id, search_id, recipe_id) REFERENCES candidates (id, search_id, recipe_id),
    CONSTRAINT fk_evaluations_evaluations FOREIGN KEY(copied_from) REFERENCES evaluations (id),
    CONSTRAINT ck_evaluations_split CHECK (split IN ('search', 'validation', 'test')),
    CONSTRAINT ck_evaluations_status CHECK (status IN ('pending', 'running', 'scored', 'failed')),
    CONSTRAINT ck_evaluations_copied CHECK ((copied_from IS NULL) = (status IS NOT NULL)),
    CONSTRAINT ck_evaluations_copies_are_not_attempted CHECK (copied_from IS NULL OR attempts = 0)
);

CREATE INDEX ix_evaluations_copied_from ON evaluations (copied_from);

CREATE INDEX ix_evaluations_course ON evaluations (search_id, split, candidate_id, copied_from, violation, fitness);

CREATE INDEX ix_evaluations_progress ON evaluations (search_id, split, status);

CREATE INDEX ix_evaluations_ranked ON evaluations (search_id, split, violation, fitness);

CREATE INDEX ix_evaluations_recipe_id_split ON evaluations (recipe_id, split);

CREATE UNIQUE INDEX uq_evaluations_recipe_once ON evaluations (search_id, recipe_id, split) WHERE copied_from IS NULL;

CREATE TABLE events (
    id INTEGER NOT NULL,
    search_id TEXT NOT NULL,
    at DOUBLE NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT fk_events_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);

CREATE INDEX ix_events_search_id_id ON events (search_id, id);

CREATE TABLE exports (
    id INTEGER NOT NULL,
    candidate_id INTEGER NOT NULL,
    owner TEXT NOT NULL,
    folder TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    created_at DOUBLE NOT NULL,
    updated_at DOUBLE NOT NULL,
    claimed_by TEXT,
    claimed_until DOUBLE,
    CONSTRAINT pk_exports PRIMARY KEY (id),
    CONSTRAINT ck_exports_status CHECK (status IN ('pending', 'running', 'done', 'failed')),
    CONSTRAINT uq_exports_folder UNIQUE (folder),
    CONSTRAINT ck_exports_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)),
    CONSTRAINT fk_exports_candidates FOREIGN KEY(candidate_id) REFERENCES candidates (id),
    CONSTRAINT fk_exports_owners FOREIGN KEY(owner) REFERENCES owners (name)
);

CREATE INDEX ix_exports_status ON exports (status);

CREATE TABLE limits (
    search_id TEXT NOT NULL,
    limits TEXT NOT NULL,
    CONSTRAINT pk_limits PRIMARY KEY (search_id),
    CONSTRAINT fk_limits_searches FOREIGN KEY(search_id) REFERENCES searches (id)
);

CREATE TABLE outcomes (
    evaluation_id INTEGER NOT NULL,
    task TEXT NOT NULL,
    position INTEGER NOT NULL,
    documents INTEGER NOT NULL,
    data BLOB NOT NULL,
    CONSTRAINT pk_outcomes PRIMARY KEY (evaluation_id, task),
    CONSTRAINT fk_outcomes_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id)
);

CREATE TABLE owners (
    name TEXT NOT NULL,
    weight DOUBLE NOT NULL,
    max_running INTEGER,
    max_queued INTEGER,
    max_candidates INTEGER,
    max_workers INTEGER,
    max_hours DOUBLE,
    used DOUBLE NOT NULL,
    used_at DOUBLE NOT NULL,
    created_at DOUBLE NOT NULL,
    CONSTRAINT pk_owners PRIMARY KEY (name),
    CONSTRAINT ck_owners_weight CHECK (weight > 0),
    CONSTRAINT ck_owners_used CHECK (used >= 0)
);

CREATE TABLE queue (
    search_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    priority INTEGER NOT NULL,
    wanted BOOLEAN NOT NULL,
    submitted_at DOUBLE NOT NULL,
    started_at DOUBLE,
    claimed_by TEXT,
    claimed_until DOUBLE,
    failures INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    retry_at DOUBLE,
    workers INTEGER,
    idempotency_key TEXT,
    fingerprint TEXT,
    CONSTRAINT pk_queue PRIMARY KEY (search_id),
    CONSTRAINT uq_queue_owner_idempotency_key UNIQUE (owner, idempotency_key),
    CONSTRAINT ck_queue_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)),
    CONSTRAINT ck_queue_key CHECK ((idempotency_key IS NULL) = (fingerprint IS NULL)),
    CONSTRAINT fk_queue_searches FOREIGN KEY(search_id) REFERENCES searches (id),
    CONSTRAINT fk_queue_owners FOREIGN KEY(owner) REFERENCES owners (name)
);

CREATE INDEX ix_queue_wanted ON queue (wanted);

CREATE TABLE races (
    evaluation_id INTEGER NOT NULL,
    search_id TEXT NOT NULL,
    rival_id INTEGER NOT NULL,
    dropped BOOLEAN,
    fitness DOUBLE,
    fitness_stderr DOUBLE,
    violation DOUBLE,
    CONSTRAINT pk_races PRIMARY KEY (evaluation_id),
    CONSTRAINT fk_races_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id),
    CONSTRAINT fk_races_rivals FOREIGN KEY(rival_id) REFERENCES evaluations (id),
    CONSTRAINT fk_races_searches FOREIGN KEY(search_id) REFERENCES searches (id),
    CONSTRAINT ck_races_rival CHECK (evaluation_id <> rival_id),
    CONSTRAINT ck_races_estimate CHECK (fitness IS NULL OR COALESCE(dropped, FALSE))
);

CREATE INDEX ix_races_search_id_dropped ON races (search_id, dropped);

CREATE TABLE searches (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    message TEXT,
    scope TEXT NOT NULL,
    base_model TEXT NOT NULL,
    seed BIGINT NOT NULL,
    spec TEXT NOT NULL,
    versions TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    updated_at DOUBLE NOT NULL,
    lease_owner TEXT,
    lease_until DOUBLE,
    CONSTRAINT pk_searches PRIMARY KEY (id),
    CONSTRAINT ck_searches_status CHECK (status IN ('pending', 'running', 'pausing', 'paused', 'cancelling', 'cancelled', 'finished', 'failed')),
    CONSTRAINT ck_searches_lease CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
);

CREATE INDEX ix_searches_name ON searches (name);

CREATE INDEX ix_searches_scope ON searches (scope);

CREATE TABLE task_scores (
    evaluation_id INTEGER NOT NULL,
    task TEXT NOT NULL,
    metric TEXT NOT NULL,
    position INTEGER NOT NULL,
    headline BOOLEAN NOT NULL,
    value DOUBLE,
    stderr DOUBLE,
    n INTEGER NOT NULL,
    CONSTRAINT pk_task_scores PRIMARY KEY (evaluation_id, task, metric),
    CONSTRAINT fk_task_scores_evaluations FOREIGN KEY(evaluation_id) REFERENCES evaluations (id)
);

CREATE INDEX ix_task_scores_task_headline ON task_scores (task, headline);

CREATE TABLE tokens (
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    scope TEXT NOT NULL,
    digest TEXT NOT NULL,
    parent TEXT,
    note TEXT,
    created_at DOUBLE NOT NULL,
    expires_at DOUBLE,
    revoked_at DOUBLE,
    used_at DOUBLE,
    CONSTRAINT pk_tokens PRIMARY KEY (id),
    CONSTRAINT ck_tokens_scope CHECK (scope IN ('read', 'submit', 'admin')),
    CONSTRAINT fk_tokens_owners FOREIGN KEY(owner) REFERENCES owners (name),
    CONSTRAINT fk_tokens_tokens FOREIGN KEY(parent) REFERENCES tokens (id)
);

CREATE INDEX ix_tokens_owner ON tokens (owner);

CREATE INDEX ix_tokens_parent ON tokens (parent);
