//! Databases of a run, and the digest that tells whether one has changed.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use backlab_parts::sqlite::Sqlite;
use backlab_parts::{Lab, Trace};

const SCHEMA: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, price REAL);
    CREATE TABLE tag (item INTEGER REFERENCES item, word TEXT, PRIMARY KEY (item, word)) WITHOUT ROWID;";

async fn shop(lab: &Lab) -> Sqlite {
    lab.sqlite(SCHEMA).await.unwrap()
}

#[tokio::test]
async fn values_go_in_and_come_out_typed() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let shop = shop(&lab).await;
    assert_eq!(
        shop.execute("INSERT INTO item (name, price) VALUES ($1, $2)", ("tea", 2.5)).await.unwrap(),
        1
    );
    assert_eq!(shop.execute("INSERT INTO item (name) VALUES ($1)", ["o'clock; --"]).await.unwrap(), 1);
    let rows: Vec<(i64, String, Option<f64>)> =
        shop.rows("SELECT * FROM item ORDER BY id", ()).await.unwrap();
    assert_eq!(rows, [(1, "tea".into(), Some(2.5)), (2, "o'clock; --".into(), None)]);
    assert_eq!(
        shop.column::<String>("SELECT name FROM item WHERE id > $1", [1]).await.unwrap(),
        ["o'clock; --"]
    );
    assert_eq!(shop.value::<f64>("SELECT price FROM item WHERE id = $1", [9]).await.unwrap(), None);
    assert_eq!(shop.count("SELECT count(*) FROM item", ()).await.unwrap(), 2);
    assert_eq!(shop.statements(), 6);
    assert_eq!(lab.parts().len(), 1);
}

#[tokio::test]
async fn an_error_shows_the_statement_and_keeps_its_code() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let shop = shop(&lab).await;
    let error = shop.execute("INSERT INTO tag VALUES (7, 'x')", ()).await.unwrap_err();
    assert!(error.to_string().contains("INSERT INTO tag"), "{error}");
    let sqlx::Error::Database(database) = error.downcast_ref::<sqlx::Error>().unwrap() else {
        panic!("{error:?}")
    };
    assert!(database.is_foreign_key_violation());
}

#[tokio::test]
async fn a_digest_changes_with_the_content_and_only_with_it() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let shop = shop(&lab).await;
    let mut digests = vec![shop.digest().await.unwrap()];
    for change in [
        "INSERT INTO item (name, price) VALUES ('tea', 2.5), ('7', 1), (NULL, NULL)",
        "UPDATE item SET name = 7 WHERE name = '7'; UPDATE item SET price = 1.5 WHERE price = 1",
        "INSERT INTO tag VALUES (1, 'hot')",
        "UPDATE item SET price = price + 1e-9 WHERE id = 1",
        "DELETE FROM item WHERE id = 3",
        "ALTER TABLE item ADD COLUMN stock INTEGER",
    ] {
        shop.execute(change, ()).await.unwrap();
        let digest = shop.digest().await.unwrap();
        assert!(!digests.contains(&digest), "{change}");
        assert_eq!(digest, shop.digest().await.unwrap(), "looking changes nothing");
        digests.push(digest);
    }
    let before = shop.digest().await.unwrap();
    shop.execute("DELETE FROM tag", ()).await.unwrap();
    shop.execute("INSERT INTO tag VALUES (1, 'hot')", ()).await.unwrap();
    assert_eq!(shop.digest().await.unwrap(), before, "the same content again");
}

#[tokio::test]
async fn a_file_has_readers_beside_its_writer() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let shop = lab.sqlite_file("shop", SCHEMA).await.unwrap();
    let mut writer = shop.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO item (name) VALUES ('tea')").execute(&mut *writer).await.unwrap();
    assert_eq!(shop.count("SELECT count(*) FROM item", ()).await.unwrap(), 0, "not yet committed");
    writer.commit().await.unwrap();
    assert_eq!(shop.seen(&lab, "api", "shop").count("SELECT count(*)\n  FROM item", ()).await.unwrap(), 1);
    assert_eq!(lab.trace().counts()[&("api".to_owned(), "shop".to_owned())].messages, 1);
}

#[tokio::test]
async fn steps_grow_with_the_rows_that_a_statement_looks_at() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let shop = shop(&lab).await;
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                INSERT INTO item (name, price) SELECT 'tea', i FROM n";
    shop.execute(fill, ()).await.unwrap();
    let steps = async |sql: &'static str| shop.steps_of(shop.rows::<(i64,)>(sql, ())).await.unwrap().1;
    let (all, one) =
        (steps("SELECT id FROM item WHERE price = 7").await, steps("SELECT id FROM item WHERE id = 7").await);
    assert!(all >= 1000, "{all} steps for 1000 rows");
    assert!((1..50).contains(&one), "{one} steps for one row");
    // A statement that is kept for the next time may be counted one step shorter then.
    assert!(steps("SELECT id FROM item WHERE price = 7").await.abs_diff(all) <= 1);
}
