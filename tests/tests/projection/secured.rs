//! Brokers that ask for a login, that speak TLS, or both: who is let in follows and writes dead letters there, who is not says why.

use crate::pond::{self, Folder, Pond, count, info};
use millpond_tests::kafka::{self, Kafka, bytes, projection, until};
use millpond_tests::{Options, Reply};
use serde_json::{Value, json};

/// The listeners of the stack by the names that it has for them.
const LISTENERS: [&str; 3] = ["sasl", "ssl", "sasl_ssl"];

/// A configuration for one of them, its settings changed.
fn config(kafka: &Kafka, listener: &str, changes: &Value, projections: &str) -> String {
    let about = kafka.about();
    let mut properties = about[listener].as_object().expect("settings of a client").clone();
    properties.extend(changes.as_object().expect("an object").clone());
    let cluster = json!({"bootstrap_servers": about[format!("{listener}_bootstrap")], "properties": properties});
    format!("kafka: {{ main: {cluster} }}\nprojections:\n{projections}")
}

/// The password from a file; records arrive, what comes later too, and dead letters take the same way.
#[test]
fn who_is_let_in_follows() {
    for listener in LISTENERS {
        let Some(mut kafka) = kafka::shared(&format!("secured-{listener}")) else { return };
        let (topic, letters) = (kafka.topic(1), kafka.topic(1));
        kafka.send(&topic, "k", "1");
        let folder = Folder::new();
        let changes = match kafka.about()[listener]["sasl.password"].as_str() {
            Some(password) => {
                let file = folder.write("password", &format!("{password}\n"));
                json!({"sasl.password": format!("${{file:{file}}}")})
            }
            None => json!({}),
        };
        let more = format!(
            "value: {{ decode: json }}, store: {{ as: json }}, errors: {{ default: dead_letter, dead_letter_topic: {letters} }}"
        );
        let pond = Pond::start(&config(&kafka, listener, &changes, &projection("p", &[&topic], &more)));
        let mut conn = pond.ready(&["p"]);
        assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(b"1".into()), "{listener}");
        kafka.send(&topic, "bad", bytes(b"{"));
        kafka.send(&topic, "k", "2");
        kafka.settle(&mut conn, "p", &topic);
        assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(b"2".into()), "{listener}");
        assert_eq!(count(&mut conn, "p", "dead_letters"), 1, "{listener}");
        let read = kafka.ask(json!({"op": "read", "topic": letters}));
        assert_eq!((&read["records"][0]["key"], read["records"].as_array().map(Vec::len)), (&json!("bad"), Some(1)));
    }
}

/// A wrong password, nobody of that name, a broker that nobody we trust vouches for, one that speaks no TLS: the server lives and is
/// not ready, it says why, and shows no secret.
#[test]
fn who_is_not_let_in_says_why() {
    let Some(mut kafka) = kafka::shared("unsecured") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "v");
    let stranger = json!({"ssl.ca.location": kafka.about()["stranger"]});
    let cases = [
        ("sasl", json!({"sasl.password": "hushhush"}), "authentication"),
        ("sasl_ssl", json!({"sasl.password": "hushhush"}), "authentication"),
        ("sasl", json!({"sasl.username": "hushhush"}), "authentication"),
        ("ssl", stranger.clone(), "certificate"),
        ("sasl_ssl", stranger, "certificate"),
        ("sasl", json!({"security.protocol": "SASL_SSL", "sasl.password": "hushhush"}), "PLAINTEXT broker listener"),
    ];
    for (listener, changes, expected) in cases {
        let text = config(&kafka, listener, &changes, &projection("p", &[&topic], "http: { path: /p }"));
        let pond = Pond::start_with(&text, Options::default().flag("loglevel", "debug"));
        let mut conn = pond.conn();
        until(&format!("it says why: {listener} with {changes}"), || {
            info(&mut conn, "p")["last_error"].contains(expected).then_some(())
        });
        assert_eq!((pond.get("/readyz").status, pond.get("/healthz").status), (503, 200), "{listener}");
        let reply = conn.cmd("GET p:k");
        assert!(matches!(&reply, Reply::Error(text) if text.starts_with("LOADING ")), "{reply}");
        pond::assert_hidden(&pond, &mut conn, "hushhush");
        let password = kafka.about()["sasl"]["sasl.password"].as_str().expect("a password");
        pond::assert_hidden(&pond, &mut conn, password);
    }
}
