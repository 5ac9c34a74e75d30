//! diesel: its query builder on diesel-async, statements prepared once by their text, transactions within transactions, streams,
//! errors as diesel tells them apart.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::{TryStreamExt, future};
use pglanes_tests::invariants;

use super::{CLIENTS, TURNS, together, url};
use crate::life;
use crate::runtimes::Skipped;

diesel::table! {
    people (id) {
        id -> Integer,
        owner -> Integer,
        name -> Text,
        tags -> Array<Text>,
    }
}

diesel::table! {
    notes (id) {
        id -> Integer,
        person_id -> Integer,
        words -> Nullable<Text>,
    }
}

diesel::joinable!(notes -> people (person_id));
diesel::allow_tables_to_appear_in_same_query!(people, notes);

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = people, check_for_backend(diesel::pg::Pg))]
struct Person {
    id: i32,
    owner: i32,
    name: String,
    tags: Vec<String>,
}

pub(crate) async fn lives() -> Result<(), Skipped> {
    let proxy = life::proxy().await;
    let url = url(&proxy);
    let mut client = AsyncPgConnection::establish(&url).await.unwrap();
    let tables = "CREATE TABLE people (id serial PRIMARY KEY, owner int NOT NULL, name text NOT NULL UNIQUE, tags text[] NOT NULL);
        CREATE TABLE notes (id serial PRIMARY KEY, person_id int NOT NULL REFERENCES people, words text)";
    client.batch_execute(tables).await.unwrap();
    together(|me| life(&url, me)).await;
    let counts: Vec<(i32, i64)> = people::table
        .group_by(people::owner)
        .select((people::owner, diesel::dsl::count_star()))
        .order(people::owner)
        .load(&mut client)
        .await
        .unwrap();
    let wanted: Vec<_> = (0..CLIENTS).map(|me| (me, i64::from(TURNS))).collect();
    assert_eq!(counts, wanted);
    drop(client);
    invariants(&proxy).await;
    Ok(())
}

async fn life(url: &str, me: i32) {
    let mut client = AsyncPgConnection::establish(url).await.unwrap();
    for turn in 0..TURNS {
        let person = inserts(&mut client, me, turn).await;
        fails(&mut client, &person).await;
        reads(&mut client, me, &person).await;
    }
}

async fn inserts(client: &mut AsyncPgConnection, me: i32, turn: i32) -> Person {
    let insert = client.transaction(async |client| {
        let person: Person = diesel::insert_into(people::table)
            .values((
                people::owner.eq(me),
                people::name.eq(format!("{me}/{turn}")),
                people::tags.eq(vec![me.to_string(), turn.to_string()]),
            ))
            .returning(Person::as_returning())
            .get_result(client)
            .await?;
        let notes: Vec<_> = (0..5)
            .map(|n| {
                (
                    notes::person_id.eq(person.id),
                    notes::words.eq(format!("note {n}")),
                )
            })
            .collect();
        let made = diesel::insert_into(notes::table)
            .values(notes)
            .execute(client)
            .await?;
        assert_eq!(made, 5);
        // A transaction inside, which is undone alone.
        let undone = client.transaction(async |client| {
            diesel::delete(notes::table).execute(client).await?;
            Err::<(), Error>(Error::RollbackTransaction)
        });
        assert_eq!(undone.await, Err(Error::RollbackTransaction));
        Ok::<_, Error>(person)
    });
    insert.await.unwrap()
}

async fn fails(client: &mut AsyncPgConnection, person: &Person) {
    let again = diesel::insert_into(people::table).values((
        people::owner.eq(-1),
        people::name.eq(&person.name),
        people::tags.eq(Vec::<String>::new()),
    ));
    let error = again.execute(client).await.unwrap_err();
    let Error::DatabaseError(DatabaseErrorKind::UniqueViolation, told) = error else {
        panic!("{error}");
    };
    assert_eq!(told.constraint_name(), Some("people_name_key"));
}

async fn reads(client: &mut AsyncPgConnection, me: i32, person: &Person) {
    let found: Person = people::table
        .filter(people::name.eq(&person.name))
        .select(Person::as_select())
        .first(client)
        .await
        .unwrap();
    assert_eq!(&found, person);
    assert_eq!(found.owner, me);
    let words: Vec<(i32, Option<String>)> = notes::table
        .inner_join(people::table)
        .filter(
            people::id
                .eq(person.id)
                .and(people::tags.contains(&person.tags)),
        )
        .order(notes::id)
        .select((people::owner, notes::words))
        .load(client)
        .await
        .unwrap();
    let wanted: Vec<_> = (0..5).map(|n| (me, Some(format!("note {n}")))).collect();
    assert_eq!(words, wanted);
    let stream = people::table
        .filter(people::owner.eq(me))
        .select(people::id);
    let stream = stream.load_stream::<i32>(client).await.unwrap();
    let ids: Vec<i32> = stream.try_collect().await.unwrap();
    assert!(ids.contains(&person.id));
    // Two queries whose messages go out together.
    let mut connection = &*client;
    let mut other = &*client;
    let mine = people::table.filter(people::owner.eq(me)).count();
    let nobodys = people::table.filter(people::owner.eq(-1)).count();
    let both = future::join(
        mine.get_result::<i64>(&mut connection),
        nobodys.get_result::<i64>(&mut other),
    );
    let (mine, nobodys) = both.await;
    assert_eq!(mine.unwrap(), ids.len() as i64);
    assert_eq!(nobodys.unwrap(), 0);
}
