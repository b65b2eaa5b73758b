-- What `backlab check` said of a reader's programs. A grade that passed keeps the version of the stages that it passed.
CREATE TABLE grade (
    id       INTEGER PRIMARY KEY,
    reader   BIGINT NOT NULL REFERENCES reader (id) ON DELETE CASCADE,
    question BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    -- The version of Backlab that graded it, and of the challenge's stages.
    backlab  TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    seed     TEXT   NOT NULL,
    command  TEXT   NOT NULL,
    passed   BIGINT NOT NULL,
    stages   BIGINT NOT NULL,
    seconds  DOUBLE PRECISION NOT NULL,
    report   TEXT   NOT NULL
);
CREATE INDEX grade_by_question ON grade (reader, question, id);
