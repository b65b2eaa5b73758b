-- Times are milliseconds since 1970 in UTC. Whole numbers without a sign (seeds, predictions) are text, since they may
-- be larger than a BIGINT. JSON is text.

CREATE TABLE reader (
    id       BIGINT PRIMARY KEY,
    name     TEXT   NOT NULL UNIQUE,
    -- Grows with every change of what is kept for this reader.
    revision BIGINT NOT NULL
);
INSERT INTO reader (id, name, revision) VALUES (1, 'local', 0);

CREATE TABLE progress (
    reader   BIGINT NOT NULL REFERENCES reader (id) ON DELETE CASCADE,
    question BIGINT NOT NULL,
    status   TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    PRIMARY KEY (reader, question)
);

CREATE TABLE prediction (
    id        INTEGER PRIMARY KEY,
    reader    BIGINT NOT NULL REFERENCES reader (id) ON DELETE CASCADE,
    question  BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    params    TEXT   NOT NULL,
    predicted TEXT   NOT NULL
);
CREATE INDEX prediction_by_question ON prediction (reader, question, id);

CREATE TABLE run (
    id         INTEGER PRIMARY KEY,
    reader     BIGINT NOT NULL REFERENCES reader (id) ON DELETE CASCADE,
    question   BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    -- The version of Backlab that ran it.
    backlab    TEXT   NOT NULL,
    seed       TEXT   NOT NULL,
    params     TEXT   NOT NULL,
    parts      TEXT   NOT NULL,
    verdict    TEXT   NOT NULL,
    seconds    DOUBLE PRECISION NOT NULL,
    prediction BIGINT REFERENCES prediction (id) ON DELETE SET NULL,
    report     TEXT   NOT NULL
);
CREATE INDEX run_by_question ON run (reader, question, id);
CREATE INDEX run_by_prediction ON run (prediction);

-- What the last run that put a claim to the test measured about it; it outlives the run's own row.
CREATE TABLE measured (
    reader   BIGINT NOT NULL REFERENCES reader (id) ON DELETE CASCADE,
    question BIGINT NOT NULL,
    claim    TEXT   NOT NULL,
    figure   TEXT   NOT NULL,
    holds    BOOLEAN NOT NULL,
    at       BIGINT NOT NULL,
    params   TEXT   NOT NULL,
    parts    TEXT   NOT NULL,
    PRIMARY KEY (reader, question, claim)
);
