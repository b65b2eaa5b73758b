//! The catalogue as a whole: what is asked is fixed, whoever edits a page.

use std::collections::{HashMap, HashSet};

use backlab_catalogue::{Level, Track};
use backlab_questions::{ALL, find};

/// Level and slug of each question, by number from 1: the catalogue on which everything was agreed.
const CATALOGUE: &str = "\
e what-a-backend-does
e frontend-vs-backend
e client-server-model
e api-as-contract
m monolith-vs-microservices
m rest-constraints
e http-methods
e http-status-codes
m put-vs-patch
m api-versioning
m pagination-offset-and-beyond
m cors
h rest-vs-graphql
h rate-limiting-algorithms
m api-authentication-methods
e sql-vs-nosql
m normalization
m database-indexes
m acid
h sharding
h transactions-and-isolation-matrix
h n-plus-one
m what-a-pool-saves
h replication-types
m database-migrations
e authentication-vs-authorization
m jwt-structure-and-attacks
h oauth2-code-flow-pkce
m sessions-vs-tokens
m password-storage
m rbac
h refresh-token-rotation
h jwt-logout
h totp-second-factor
h single-sign-on
e caching-basics
m caching-strategies
m redis-uses
h cache-invalidation
h stampede-vs-penetration
m cdn
m message-queue
m queue-vs-pubsub
h kafka
h idempotent-consumer
h dead-letter-queue
m microservice-characteristics
h service-communication
m api-gateway-responsibilities
h service-discovery
h saga-distributed-transactions
h circuit-breaker
m horizontal-vs-vertical-scaling
m load-balancing-algorithms
h cap-theorem
h design-url-shortener
h distributed-rate-limiter
h consistent-hashing
m sql-injection
m cross-site-scripting
h cross-site-request-forgery
m http-security-headers
m least-privilege
h sensitive-data-in-logs
h query-optimization-techniques
m connection-pool-sizing-littles-law
h backend-memory-leaks
h nodejs-event-loop
m lazy-loading
h background-jobs
m rest-api-naming-conventions
m api-error-handling
m api-documentation-openapi
m request-validation
h content-negotiation
h nexttick-vs-setimmediate
h nodejs-streams
h nodejs-cluster
h nodejs-worker-threads
m express-middleware
m kinds-of-backend-tests
m unit-testing-and-mutation
h api-integration-testing
m test-driven-development
h test-doubles-and-mocking
h backend-metrics
m structured-logging
h distributed-tracing
h application-performance-monitoring
m health-checks
m continuous-integration-and-delivery
m containers-and-docker
m containers-vs-virtual-machines
h kubernetes-reconciliation
e environment-variables-and-configuration
h event-driven-architecture
h cqrs
h websocket-and-alternatives
h serverless-functions
h eventual-consistency
m stateful-vs-stateless
m file-uploads
h connection-leaks
h twelve-factor-app
h api-throttling
h blue-green-deployment
h connection-pool-tuning
h correlation-ids
h read-replicas
h graceful-shutdown-nodejs
h optimistic-vs-pessimistic-locking
h cursor-pagination
h idempotency-keys
h request-deduplication
h transactional-outbox
h multi-tenancy-models
h partitioning-vs-sharding
h rate-limiting-in-layers
h strangler-fig-migration
h backup-and-point-in-time-recovery
e sync-vs-async
h grpc-vs-rest
m dates-and-time-zones
h postgresql-vacuum
m feature-flags
h explain-plans
m soft-delete-vs-hard-delete
h api-gateway-pattern
h timeouts-and-retries
h choosing-isolation-levels
h production-connection-pooling
h horizontal-vs-vertical-partitioning
m request-response-logging
h deadlocks
h query-result-caching
h bulkhead-pattern
m response-compression
m foreign-keys-and-cascades
h full-text-search
h sidecar-pattern
h http-caching-headers
m prepared-statements
h database-reconnect-and-retry
h ambassador-pattern
m request-body-limits
h query-plan-cache
h connection-health-monitoring
h dao-vs-repository
h row-level-security
h anti-corruption-layer
";

const PER_TRACK: [(Track, usize); 12] = [
    (Track::Foundations, 6),
    (Track::RestApis, 23),
    (Track::Databases, 31),
    (Track::Authentication, 10),
    (Track::Caching, 8),
    (Track::Messaging, 8),
    (Track::Microservices, 14),
    (Track::SystemDesign, 10),
    (Track::Security, 8),
    (Track::Runtime, 10),
    (Track::Testing, 5),
    (Track::Operations, 17),
];

#[test]
fn numbers_slugs_and_levels_are_those_agreed_on() {
    let here: Vec<_> = ALL.iter().map(|it| (it.page.number, it.page.level, it.page.slug)).collect();
    let agreed = CATALOGUE.lines().zip(1..).map(|(line, number)| {
        let level = match &line[..2] {
            "e " => Level::Easy,
            "m " => Level::Medium,
            _ => Level::Hard,
        };
        (number, level, &line[2..])
    });
    assert_eq!(here, agreed.collect::<Vec<_>>());
}

#[test]
fn there_are_150_in_12_tracks_and_3_levels() {
    let count = |keep: &dyn Fn(&&backlab_questions::Question) -> bool| ALL.iter().filter(keep).count();
    assert_eq!(ALL.len(), 150);
    assert_eq!(Level::ALL.map(|level| count(&|it| it.page.level == level)), [11, 54, 85]);
    for (track, expected) in PER_TRACK {
        assert_eq!(count(&|it| it.page.track == track), expected, "{track}");
    }
}

#[test]
fn no_two_questions_say_the_same() {
    let slugs: HashSet<_> = ALL.iter().map(|it| it.page.slug).collect();
    let titles: HashSet<_> = ALL.iter().map(|it| it.page.title.to_lowercase()).collect();
    let asked: HashSet<_> = ALL.iter().map(|it| it.page.asked.to_lowercase()).collect();
    let experiments: HashSet<_> = ALL.iter().map(|it| it.page.experiment.to_lowercase()).collect();
    assert_eq!([slugs.len(), titles.len(), asked.len(), experiments.len()], [150; 4]);
}

#[test]
fn every_question_is_asked_aloud_and_judged() {
    for question in ALL {
        let (page, slug) = (&question.page, question.page.slug);
        assert!((12..=45).contains(&page.asked.split_whitespace().count()), "{slug}: {}", page.asked);
        assert!(page.asked.ends_with(['?', '.']), "{slug}: {}", page.asked);
        assert!((3..=7).contains(&page.must_say.len()), "{slug}");
        assert!(page.sources.len() >= 2, "{slug}");
        assert_eq!(page.is_written(), !page.body.is_empty(), "{slug}");
    }
}

#[test]
fn neighbours_exist_and_near_duplicates_know_each_other() {
    let related: HashMap<_, _> = ALL.iter().map(|it| (it.page.slug, it.page.related)).collect();
    for (slug, neighbours) in &related {
        assert!(neighbours.iter().all(|it| it != slug && related.contains_key(it)), "{slug}: {neighbours:?}");
        assert!(!neighbours.is_empty(), "{slug} stands alone");
    }
    let families: [&[u16]; 7] = [
        &[23, 66, 107, 131],
        &[14, 57, 105, 118],
        &[49, 128],
        &[21, 130],
        &[20, 117, 132],
        &[45, 113, 114],
        &[11, 112],
    ];
    for family in families {
        let slugs: Vec<_> = family.iter().filter_map(|it| Some(find(&it.to_string())?.page.slug)).collect();
        for slug in &slugs {
            let others = slugs.iter().filter(|it| *it != slug);
            assert!(others.clone().all(|it| related[slug].contains(it)), "{slug} should name {slugs:?}");
        }
    }
}

#[test]
fn a_question_is_found_by_number_and_by_slug() {
    assert_eq!(find("40").map(|it| it.page.slug), Some("stampede-vs-penetration"));
    assert_eq!(find("stampede-vs-penetration").map(|it| it.page.number), Some(40));
    assert!(find("0").is_none() && find("151").is_none() && find("").is_none());
}
