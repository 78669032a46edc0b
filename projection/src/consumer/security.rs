//! Whether the client that is built in can do what a cluster's settings ask of logins and encryption: said in our words before
//! librdkafka says it in its own. No value of a setting is shown, unless it is a name that everybody knows.

use crate::config::Cluster;

/// librdkafka has OpenSSL: TLS, and SCRAM, whose hashes are OpenSSL's.
const HAS_OPENSSL: bool = cfg!(any(feature = "kafka-tls", feature = "kafka-tls-vendored"));

/// What these settings need and this build has not.
pub(super) fn check(cluster: &Cluster) -> Result<(), String> {
    let setting = |name: &str| cluster.properties.get(name).map(|value| value.0.trim());
    let names = cluster.properties.keys().map(String::as_str);
    check_these(setting, names, HAS_OPENSSL)
}

fn check_these<'a>(
    setting: impl Fn(&str) -> Option<&'a str>,
    mut names: impl Iterator<Item = &'a str>,
    has_openssl: bool,
) -> Result<(), String> {
    let refuse = |name: &str, why: &str| Err(format!("kafka: properties: {name}: {why}"));
    let protocol = setting("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
    if !has_openssl {
        let why = "this build has no TLS (cargo feature `kafka-tls`)";
        if matches!(&*protocol, "ssl" | "sasl_ssl") {
            return refuse("security.protocol", why);
        }
        if let Some(name) = names.find(|name| name.starts_with("ssl.")) {
            return refuse(name, why);
        }
    }
    if !protocol.starts_with("sasl_") {
        return Ok(());
    }
    let name = if setting("sasl.mechanisms").is_some() { "sasl.mechanisms" } else { "sasl.mechanism" };
    match setting(name) {
        Some("PLAIN") => {}
        Some("SCRAM-SHA-256" | "SCRAM-SHA-512") if has_openssl => {}
        Some("SCRAM-SHA-256" | "SCRAM-SHA-512") => {
            return refuse(name, "this build has no SCRAM (cargo feature `kafka-tls`)");
        }
        Some("GSSAPI" | "OAUTHBEARER") => return refuse(name, "logins by GSSAPI and OAUTHBEARER are not built in"),
        Some(_) => return refuse(name, "it is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        None => return refuse(name, "a login needs one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    }
    for name in ["sasl.username", "sasl.password"] {
        if setting(name).is_none_or(str::is_empty) {
            return refuse(name, "a login needs it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &[(&str, &'static str)], has_openssl: bool) -> String {
        let setting = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let names = settings.iter().map(|(name, _)| *name);
        // Names live as long as values here.
        let names: Vec<String> = names.map(str::to_owned).collect();
        let checked = check_these(setting, names.iter().map(String::as_str), has_openssl);
        checked.err().unwrap_or_default()
    }

    fn login(protocol: &'static str, mechanism: &'static str) -> Vec<(&'static str, &'static str)> {
        vec![
            ("security.protocol", protocol),
            ("sasl.mechanism", mechanism),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
        ]
    }

    #[test]
    fn what_is_not_built_in_is_named() {
        let needs_tls: [&[_]; 4] = [
            &[("security.protocol", "SSL")],
            &[("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem")],
            &[("ssl.ca.location", "/ca.pem")],
            &login("SASL_SSL", "PLAIN"),
        ];
        for settings in needs_tls {
            assert_eq!(told(settings, true), "", "{settings:?}");
            assert!(told(settings, false).contains("no TLS (cargo feature `kafka-tls`)"), "{settings:?}");
        }
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(told(&login("SASL_PLAINTEXT", mechanism), true), "");
            let told = told(&login("sasl_plaintext", mechanism), false);
            assert!(told.contains("sasl.mechanism: this build has no SCRAM"), "{told}");
        }
        for has_openssl in [false, true] {
            assert_eq!(told(&[], has_openssl), "");
            assert_eq!(told(&login("SASL_PLAINTEXT", "PLAIN"), has_openssl), "");
            // It has no effect.
            assert_eq!(told(&login("PLAINTEXT", "SCRAM-SHA-512"), has_openssl), "");
        }
    }

    #[test]
    fn logins_are_whole_and_no_value_is_shown() {
        let cases: [(&[_], _); 6] = [
            (&login("SASL_SSL", "GSSAPI"), "sasl.mechanism: logins by GSSAPI"),
            (&login("SASL_SSL", "hushhush"), "sasl.mechanism: it is none of"),
            (&[("security.protocol", "SASL_SSL")], "sasl.mechanism: a login needs one of"),
            (&[("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "OAUTHBEARER")], "sasl.mechanisms: logins"),
            (&login("SASL_SSL", "PLAIN")[..3], "sasl.password: a login needs it"),
            (&[("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "PLAIN")], "sasl.username: a login needs it"),
        ];
        for (settings, expected) in cases {
            let told = told(settings, true);
            assert!(told.starts_with("kafka: properties: ") && told.contains(expected), "{settings:?}: {told}");
            assert!(!told.contains("hushhush"), "{told}");
        }
    }
}
