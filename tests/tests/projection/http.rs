//! Projections over HTTP: single entries with what caches need to know of them, and lists of ids.

use crate::pond::{Answer, Pond};
use millpond_tests::Reply;
use millpond_tests::kafka::{self, Kafka, config, projection};
use serde_json::{Value, json};

const TIME_MS: i64 = 1_700_000_000_500;
const TIME: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

fn users(kafka: &Kafka, topic: &str, more: &str) -> String {
    let settings = "value: { decode: json }, store: { as: json }";
    let http = format!("http: {{ path: /api/users, cache_max_age: 60s{more} }}");
    kafka.config(&projection("users", &[topic], &format!("{settings}, {http}")))
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("no ETag: {answer:?}")).to_owned()
}

/// GET has the body, its type, and all that a cache needs; HEAD the same head without a body; 304 is said to whoever has it,
/// by ETag (lists, `*`, weak ones, several headers) or by date, of which the ETag is the stronger.
#[test]
fn conditional_requests() {
    let Some(mut kafka) = kafka::shared("conditional") else { return };
    let topic = kafka.topic(1);
    kafka.send_with(&topic, "7", r#"{"name":"Ä"}"#, json!({"timestamp": TIME_MS}));
    let pond = Pond::start(&users(&kafka, &topic, ""));
    let mut conn = pond.ready(&["users"]);
    let got = pond.get("/api/users/7");
    assert_eq!((got.status, &*got.body), (200, r#"{"name":"Ä"}"#));
    let heads =
        ["content-type", "cache-control", "last-modified", "content-length"].map(|name| got.header(name).unwrap_or(""));
    assert_eq!(heads, ["application/json", "public, max-age=60", TIME, "13"]);
    let tag = etag(&got);
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 8, "{tag}");
    let head = pond.ask("HEAD /api/users/7", &[]);
    assert_eq!((head.status, &*head.body), (200, ""));
    for name in ["content-type", "cache-control", "last-modified", "content-length", "etag"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    let (weak, listed) = (format!("if-none-match: W/{tag}"), format!("if-none-match: \"a\", W/\"b\",{tag} , \"c\""));
    let (same, bare) = (format!("if-none-match: {tag}"), format!("if-none-match: {}", tag.trim_matches('"')));
    let since = |date: &str| format!("if-modified-since: {date}");
    let cases: &[(&[&str], u16)] = &[
        (&[&same], 304),
        (&[&weak], 304),
        (&[&listed], 304),
        (&["if-none-match: *"], 304),
        (&["if-none-match: \"other\", \"more\""], 200),
        (&[&bare], 200),
        (&["if-none-match: \"\""], 200),
        // A list may come in several headers.
        (&["if-none-match: \"other\"", &same], 304),
        (&[&since(TIME)], 304),
        (&[&since("Wed, 15 Nov 2023 00:00:00 GMT")], 304),
        (&[&since("Tue, 14 Nov 2023 22:13:19 GMT")], 200),
        (&[&since("Tuesday, 14-Nov-23 22:13:20 GMT")], 304),
        (&[&since("yesterday")], 200),
        // The date does not count beside an ETag.
        (&["if-none-match: \"other\"", &since(TIME)], 200),
        (&[&same, &since("Mon, 13 Nov 2023 00:00:00 GMT")], 304),
    ];
    for (headers, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = pond.ask(&format!("{method} /api/users/7"), headers);
            assert_eq!(answer.status, *status, "{method} {headers:?}: {answer:?}");
            assert_eq!(
                (etag(&answer), answer.header("cache-control")),
                (tag.clone(), Some("public, max-age=60")),
                "{headers:?}"
            );
            if *status == 304 {
                assert_eq!((&*answer.body, answer.header("content-type")), ("", None), "{headers:?}");
            }
        }
    }
    // Of what is not there nobody has a copy.
    for headers in [&["if-none-match: *"][..], &[]] {
        let answer = pond.ask("GET /api/users/8", headers);
        assert_eq!((answer.status, answer.json()["message"].is_string()), (404, true));
    }
    assert_eq!(pond.ask("HEAD /api/users/8", &[]).body, "");
    kafka.send(&topic, "7", Value::Null);
    kafka.settle(&mut conn, "users", &topic);
    assert_eq!(pond.ask("GET /api/users/7", &[&same]).status, 404);
}

/// ETags by version tell apart all states that were ever stored, also such with the same value in the same field, and are equal
/// on all servers; those of a field are that field.
#[test]
fn etags() {
    let Some(mut kafka) = kafka::shared("etags") else { return };
    let topic = kafka.topic(2);
    let by_field = "key: { template: 'field:{key}' }, value: { decode: json }, store: { as: json }, \
                    http: { path: /field, etag: 'field:updatedAt' }";
    let hash = "key: { template: 'hash:{key}' }, value: { decode: json }, store: { as: hash }, \
                http: { path: /hash, etag: 'field:updatedAt' }";
    let config = format!(
        "{}{}{}",
        users(&kafka, &topic, ", etag: version"),
        projection("f", &[&topic], by_field),
        projection("h", &[&topic], hash)
    );
    let ponds = [Pond::start(&config), Pond::start(&config)];
    let mut conns = ponds.each_ref().map(|pond| pond.ready(&["users", "f", "h"]));
    let mut step = |kafka: &mut Kafka, value: &str| {
        kafka.send(&topic, "k", value);
        for conn in &mut conns {
            ["users", "f", "h"].iter().for_each(|name| kafka.settle(conn, name, &topic));
        }
        let tags = ponds.each_ref().map(|pond| {
            ["/api/users/k", "/field/k", "/hash/k"].map(|path| pond.get(path).header("etag").map(str::to_owned))
        });
        assert_eq!(tags[0], tags[1], "the same on both servers");
        tags[0].clone()
    };
    let first = step(&mut kafka, r#"{"updatedAt":"2024-01-01T00:00:00Z","v":1}"#);
    let second = step(&mut kafka, r#"{"updatedAt":"2024-01-01T00:00:00Z","v":2}"#);
    let third = step(&mut kafka, r#"{"updatedAt":"2024-01-01T00:00:00Z","v":1}"#);
    assert!(first[0] != second[0] && second[0] != third[0] && first[0] != third[0], "{first:?} {second:?} {third:?}");
    let same = Some("\"2024-01-01T00:00:00Z\"".to_owned());
    assert_eq!((&first[1], &second[1], &first[2]), (&same, &same, &same));
    // Without the field, or where it cannot stand in a header, there is none.
    for value in [r#"{"v":1}"#, r#"{"updatedAt":"a\"b"}"#, r#"{"updatedAt":"a\r\nset-cookie: x"}"#] {
        assert_eq!(step(&mut kafka, value)[1], None, "{value}");
    }
    assert_eq!(step(&mut kafka, r#"{"updatedAt":17}"#)[1].as_deref(), Some("\"17\""));
    // One with a comma is one all the same, alone and in a list.
    let date = step(&mut kafka, r#"{"updatedAt":"Wed, 21 Oct 2015 07:28:00 GMT"}"#)[1].clone().expect("an ETag");
    for known in [date.clone(), format!("\"x\", {date}, \"y\"")] {
        let answer = ponds[0].ask("GET /field/k", &[&format!("if-none-match: {known}")]);
        assert_eq!(answer.status, 304, "{known}");
    }
}

/// Forms: JSON as it is stored, the fields of a hash as strings, anything else as bytes. Ids are keys without the prefix, in
/// paths percent-encoded, whatever is in them.
#[test]
fn forms_and_ids() {
    let Some(mut kafka) = kafka::shared("forms") else { return };
    let topic = kafka.topic(1);
    let ids = ["plain", "with space", "a/b", "ä€😀", "50%", "a+b", "a?b#c", "..", "\"q\"", "a\nb"];
    kafka.send_all(&topic, ids.map(|id| (json!(id), json!(format!(r#"{{"n":1.50,"id":{}}}"#, json!(id))))));
    let config: String = ["raw", "json", "hash"]
        .map(|form| {
            let decode = if form == "raw" { "raw" } else { "json" };
            projection(
                form,
                &[&topic],
                &format!("value: {{ decode: {decode} }}, store: {{ as: {form} }}, http: {{ path: /v1/{form} }}"),
            )
        })
        .concat();
    let pond = Pond::start(&kafka.config(&config));
    drop(pond.ready(&["raw", "json", "hash"]));
    for id in ids {
        let all: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for form in ["raw", "json", "hash"] {
            let answer = pond.get(&format!("/v1/{form}/{all}"));
            assert_eq!(answer.status, 200, "{form} {id:?}");
            assert_eq!(answer.json()["id"], id, "{form}");
        }
    }
    let answers = ["raw", "json", "hash"].map(|form| pond.get(&format!("/v1/{form}/a%2Fb")));
    let kinds = answers.each_ref().map(|answer| answer.header("content-type").unwrap_or("").to_owned());
    assert_eq!(kinds, ["application/octet-stream", "application/json", "application/json"]);
    assert!(answers[0].header("x-content-type-options") == Some("nosniff"));
    assert_eq!(answers[0].body, r#"{"n":1.50,"id":"a/b"}"#);
    assert_eq!((answers[1].json()["n"].as_f64(), &answers[2].json()["n"].is_string()), (Some(1.5), &true));
    assert_eq!(pond.get("/v1/raw/a+b").status, 200, "a plus in a path is a plus");
    for bad in ["%", "%2", "%zz", "a%"] {
        assert_eq!(pond.get(&format!("/v1/raw/{bad}")).status, 400, "{bad}");
    }
    assert_eq!(pond.get("/v1/rawer").status, 404);
    let mut listed: Vec<&str> = ids.to_vec();
    listed.sort_unstable_by_key(|id| id.as_bytes());
    assert_eq!(pond.get("/v1/raw").json(), json!(listed));
}

/// Lists: ids by their bytes, a page of them by offset or behind an id, those with a part; bounded by `list_max`; not at all
/// where they are off.
#[test]
fn lists() {
    let Some(mut kafka) = kafka::shared("lists") else { return };
    let topic = kafka.topic(3);
    let ids: Vec<String> =
        (0..3000).map(|n| format!("{:04}-{}", n * 7 % 3000, if n % 10 == 0 { "X y" } else { "z" })).collect();
    kafka.send_all(&topic, ids.iter().map(|id| (json!(id), json!("1"))));
    let more = |path: &str, more: &str| {
        format!("value: {{ decode: json }}, store: {{ as: json }}, http: {{ path: {path}{more} }}")
    };
    let config = [
        projection("all", &[&topic], &more("/all", "")),
        projection("some", &[&topic], &more("/some", ", list_max: 10")),
        projection("off", &[&topic], &more("/off", ", list: off")),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["all", "some", "off"]);
    // Keys of others are nobody's business.
    conn.cmd("MSET al 1 all 1 alm 1");
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let page = |query: &str| pond.get(&format!("/all?{query}")).json();
    let of = |ids: &[String]| json!(ids);
    assert_eq!(pond.get("/all").json(), of(&sorted));
    assert_eq!(pond.get("/all/").json(), of(&sorted));
    assert_eq!(page("limit=5"), of(&sorted[..5]));
    assert_eq!(page("offset=2995"), of(&sorted[2995..]));
    assert_eq!(page("offset=10&limit=3"), of(&sorted[10..13]));
    assert_eq!(
        (page("limit=0"), page("offset=3000"), page("offset=99999999999&limit=1")),
        (json!([]), json!([]), json!([]))
    );
    let filtered: Vec<String> = sorted.iter().filter(|id| id.contains("X y")).cloned().collect();
    assert_eq!(page("filter=X%20y"), of(&filtered));
    assert_eq!(page("filter=X+y&limit=2&offset=1"), of(&filtered[1..3]));
    assert_eq!(page("filter=nothing"), json!([]));
    assert_eq!(page("filter="), of(&sorted));
    // Page by page behind the last id, to the end.
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let next = page(&format!("limit=700&after={}", after.replace(' ', "%20")));
        let next: Vec<String> = serde_json::from_value(next).unwrap();
        let Some(last) = next.last() else { break };
        after.clone_from(last);
        found.extend(next);
    }
    assert_eq!(found, sorted);
    assert_eq!(page("after=0100&limit=1"), of(&sorted[100..101]), "an id that is not there");
    for (query, count) in [("", 10), ("?limit=99", 10), ("?limit=3", 3)] {
        assert_eq!(pond.get(&format!("/some{query}")).json().as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!((pond.get("/off").status, pond.get("/off/0000-X%20y").status), (404, 200));
    for bad in ["limit=x", "limit=-1", "offset=1.5", "limit=99999999999999999999999", "filter=%zz", "limit="] {
        assert_eq!(pond.get(&format!("/all?{bad}")).status, 400, "{bad}");
    }
    let head = pond.ask("HEAD /all?limit=5", &[]);
    assert_eq!((head.status, &*head.body), (200, ""));
}

/// What else may be asked: other methods are refused, readers before it is ready are told to come back, and passwords are
/// wanted where there is one, but for probes.
#[test]
fn what_is_refused() {
    let Some(mut kafka) = kafka::shared("refused") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "1");
    let pond = Pond::start(&users(&kafka, &topic, ""));
    let mut conn = pond.ready(&["users"]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/api/users", "/api/users/k"] {
            let answer = pond.send(&format!("{method} {path}"), &[], "{}");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(conn.cmd("GET users:k"), Reply::Bulk(b"1".into()));
    let nowhere = config("127.0.0.1:1", kafka.registry(), "");
    let text = users(&kafka, &topic, "").replace(kafka.bootstrap(), "127.0.0.1:1");
    assert!(nowhere.contains("127.0.0.1:1") && text.contains("127.0.0.1:1"));
    let loading = Pond::start(&text);
    for path in ["/api/users/k", "/api/users"] {
        let answer = loading.get(path);
        let retry = answer.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
        assert!(answer.status == 503 && retry.is_some() && answer.header("etag").is_none(), "{answer:?}");
    }
    let locked = Pond::start_with(&users(&kafka, &topic, ""), millpond_tests::Options::default().password("sesame"));
    drop(locked.ready(&["users"]));
    for (path, status) in
        [("/api/users/k", 401), ("/api/users", 401), ("/metrics", 401), ("/healthz", 200), ("/readyz", 200)]
    {
        assert_eq!(locked.get(path).status, status, "{path}");
    }
    assert_eq!(locked.ask("GET /api/users/k", &["authorization: Bearer sesame"]).body, "1");
    assert_eq!(pond.ask("GET /api/users/k", &["origin: http://evil.test"]).status, 403);
}
