//! Templates that are taken, templates that are not, and what keys make of them.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn templates_are_read() {
    // Text, scheme, host, port, target for the key `k/1`.
    let table: &[(&str, &str, &str, u16, &str)] = &[
        ("http://api:8080/users/{key}", "http", "api", 8080, "/users/k%2F1"),
        ("http://api:8080/users/{+key}", "http", "api", 8080, "/users/k/1"),
        ("http://api/{key}", "http", "api", 80, "/k%2F1"),
        ("https://api/{key}", "https", "api", 443, "/k%2F1"),
        ("HTTPS://API.Example./{key}", "https", "api.example", 443, "/k%2F1"),
        ("http://10.0.0.1:81/{key}", "http", "10.0.0.1", 81, "/k%2F1"),
        ("http://[::1]/{key}", "http", "[::1]", 80, "/k%2F1"),
        ("http://[2001:DB8::0:1]:81/{key}", "http", "[2001:db8::1]", 81, "/k%2F1"),
        ("http://api/x?id={key}&y=1", "http", "api", 80, "/x?id=k%2F1&y=1"),
        ("http://api/x?id={+key}", "http", "api", 80, "/x?id=k/1"),
        ("http://api?id={key}", "http", "api", 80, "/?id=k%2F1"),
        ("http://api", "http", "api", 80, "/"),
        ("http://api/", "http", "api", 80, "/"),
        ("http://api/memo?x", "http", "api", 80, "/memo?x"),
        ("http://api/a-{key}.json", "http", "api", 80, "/a-k%2F1.json"),
        ("http://api/a/..{key}", "http", "api", 80, "/a/..k%2F1"),
        ("http://api/x@y:z;v=1,2/%41/{key}", "http", "api", 80, "/x@y:z;v=1,2/%41/k%2F1"),
        ("http://api/x?y=/../{key}", "http", "api", 80, "/x?y=/../k%2F1"),
        ("http://api//x/{key}", "http", "api", 80, "//x/k%2F1"),
    ];
    for (text, scheme, host, port, target) in table {
        let template = template(text);
        assert_eq!(template.scheme().as_str(), *scheme, "{text}");
        assert_eq!(template.host(), *host, "{text}");
        assert_eq!(template.port(), *port, "{text}");
        assert_eq!(template.has_key(), text.contains("key}"), "{text}");
        assert_eq!(template.path(b"k/1").as_deref(), Ok(*target), "{text}");
    }
    let longest = format!("http://api/{}", "x".repeat(MAX_TEMPLATE_LEN - 11));
    assert!(Template::parse(&longest).is_ok());
    assert!(Template::parse(&format!("{longest}x")).is_err());
}

#[test]
fn broken_templates_are_refused() {
    let table = [
        "",
        "api/{key}",
        "//api/{key}",
        "/users/{key}",
        "http:/api/{key}",
        "ftp://api/{key}",
        "file:///etc/passwd",
        "unix:///x",
        " http://api/{key}",
        "http://",
        "http:///{key}",
        "http://:80/{key}",
        "http://?x={key}",
        // User information, and what only looks like a host.
        "http://user@api/{key}",
        "http://user:password@api/{key}",
        "http://@api/{key}",
        "http://api\\@evil/{key}",
        "http://api%2eevil/{key}",
        "http://127.1/{key}",
        "http://0x7f000001/{key}",
        "http://::1/{key}",
        "http://[::1/{key}",
        "http://[::1]x/{key}",
        "http://a b/{key}",
        "http://*/{key}",
        // Ports.
        "http://api:/{key}",
        "http://api:0/{key}",
        "http://api:65536/{key}",
        "http://api:+80/{key}",
        "http://api:80:81/{key}",
        "http://[::1]:/{key}",
        // Fragments.
        "http://api/{key}#x",
        "http://api/#{key}",
        "http://api#/{key}",
        "http://api/{key}?x#",
        // Keys where they must not be, more than one, and other placeholders.
        "http://{key}/x",
        "http://{key}",
        "http://api{key}/",
        "http://api:{key}/",
        "http://{key}.api/x",
        "{key}://api/",
        "http://api/{key}/{key}",
        "http://api/{key}?x={+key}",
        "http://api/{other}",
        "http://api/{}",
        "http://api/{KEY}",
        "http://api/{key",
        "http://api/key}",
        "http://api/{{key}}",
        "http://api/{key}}",
        "http://api/{ key }",
        "http://api/}{key}",
        "http://api/{/key}",
        "http://api/{++key}",
        // Characters, and escapes that a key would complete.
        "http://api/a b/{key}",
        "http://api/{key}\r\nx: y",
        "http://api/\u{e4}/{key}",
        "http://api/<{key}>",
        "http://api/\"{key}\"",
        "http://api/a|{key}",
        "http://api/a^{key}",
        "http://api/a`{key}",
        "http://api/\\{key}",
        "http://api/%{key}",
        "http://api/%4{key}",
        "http://api/{key}%",
        "http://api/{key}%4",
        "http://api/%zz/{key}",
        "http://api/%",
        "http://api/{key}?x[]=1",
        // Dot segments.
        "http://api/../{key}",
        "http://api/./{key}",
        "http://api/..",
        "http://api/{key}/..",
        "http://api/{key}/../x",
        "http://api/%2e%2E/{key}",
        "http://api/.%2e/{key}",
        "http://api/%2e/{key}",
        "http://api/..;x/{key}",
        "http://api/..%2f{key}",
        "http://api/x%5C../{key}",
        "http://api/..?x={key}",
    ];
    for text in table {
        let error = Template::parse(text).expect_err(text);
        assert!(error.starts_with("origin \"") && !error.contains('\n'), "{error}");
    }
    assert_eq!(
        Template::parse("http://user@api/{key}").unwrap_err(),
        "origin \"http://user@api/{key}\": user information is refused"
    );
}

#[test]
fn keys_are_encoded() {
    use BadKey::{DotSegment, Empty};
    // Key, target for `{key}`, target for `{+key}`, both after `/u/`.
    type Row = (&'static [u8], Result<&'static str, BadKey>, Result<&'static str, BadKey>);
    let table: &[Row] = &[
        (b"42", Ok("42"), Ok("42")),
        (b"azAZ09-._~", Ok("azAZ09-._~"), Ok("azAZ09-._~")),
        (b"a:b", Ok("a%3Ab"), Ok("a%3Ab")),
        (b"a b+c", Ok("a%20b%2Bc"), Ok("a%20b%2Bc")),
        (b"a/b", Ok("a%2Fb"), Ok("a/b")),
        (b"/a//b/", Ok("%2Fa%2F%2Fb%2F"), Ok("/a//b/")),
        (b"a?b#c&d=e%f", Ok("a%3Fb%23c%26d%3De%25f"), Ok("a%3Fb%23c%26d%3De%25f")),
        (b"%2e%2e", Ok("%252e%252e"), Ok("%252e%252e")),
        (b"%2F", Ok("%252F"), Ok("%252F")),
        (b"\0\r\n\x7f\x80\xff", Ok("%00%0D%0A%7F%80%FF"), Ok("%00%0D%0A%7F%80%FF")),
        ("ü{key}".as_bytes(), Ok("%C3%BC%7Bkey%7D"), Ok("%C3%BC%7Bkey%7D")),
        (b"...", Ok("..."), Ok("...")),
        (b"a..", Ok("a.."), Ok("a..")),
        (b"a./.b", Ok("a.%2F.b"), Ok("a./.b")),
        (b"", Err(Empty), Ok("")),
        (b".", Err(DotSegment), Err(DotSegment)),
        (b"..", Err(DotSegment), Err(DotSegment)),
        // Servers that decode before they part the segments see these.
        (b"../x", Err(DotSegment), Err(DotSegment)),
        (b"a/..", Err(DotSegment), Err(DotSegment)),
        (b"a/./b", Err(DotSegment), Err(DotSegment)),
        (b"a/../../b", Err(DotSegment), Err(DotSegment)),
        (b"..\\x", Err(DotSegment), Err(DotSegment)),
        (b"..;x", Err(DotSegment), Err(DotSegment)),
        (b"?/../x", Err(DotSegment), Err(DotSegment)),
    ];
    let (whole, path) = (template("http://api/u/{key}"), template("http://api/u/{+key}"));
    for (key, in_whole, in_path) in table {
        let after_u = |target: Result<&str, BadKey>| target.map(|target| format!("/u/{target}"));
        assert_eq!(whole.path(key), after_u(*in_whole), "{key:?}");
        assert_eq!(path.path(key), after_u(*in_path), "{key:?}");
    }
}

#[test]
fn fixed_text_and_key_together_make_no_dot_segment() {
    // Template, key, whether there is a target.
    let table: &[(&str, &[u8], bool)] = &[
        ("http://api/.{key}", b".", false),
        ("http://api/.{+key}", b"", false),
        ("http://api/.{+key}", b"/x", false),
        ("http://api/%2e{key}", b".", false),
        ("http://api/{key}.", b".", false),
        ("http://api/{key}%2E/x", b".", false),
        ("http://api/{key};v=1", b"..", false),
        ("http://api/{key}%2fx", b"..", false),
        ("http://api/x%2f{key}", b"..", false),
        ("http://api/.{key}", b"..", true),
        ("http://api/x{key}", b"..", true),
        ("http://api/{key}", b"", false),
        ("http://api/?x={key}", b"", false),
        ("http://api/?x={+key}", b"", true),
        ("http://api/?x={key}", b"..", true),
        ("http://api/?x=/{+key}/", b"..", true),
        ("http://api/fixed", b"", true),
        ("http://api/fixed", b"..", true),
    ];
    for (text, key, expected) in table {
        let target = template(text).path(key);
        assert_eq!(target.is_ok(), *expected, "{text} {key:?}: {target:?}");
    }
}

#[test]
fn long_targets_are_refused() {
    let template = template("http://api/{key}");
    let target = template.path(&vec![b'x'; MAX_PATH_LEN - 1]);
    assert_eq!(target.map(|target| target.len()), Ok(MAX_PATH_LEN));
    assert_eq!(template.path(&vec![b'x'; MAX_PATH_LEN]), Err(BadKey::TooLong));
    assert_eq!(template.path(&vec![b'x'; MAX_PATH_LEN * 100]), Err(BadKey::TooLong));
    assert_eq!(template.path(&vec![b' '; MAX_PATH_LEN / 3 + 1]), Err(BadKey::TooLong));
    assert!(template.path(&vec![b' '; MAX_PATH_LEN / 3]).is_ok());
}

const TEMPLATES: [&str; 8] = [
    "http://api/{key}",
    "http://api/{+key}",
    "http://api/u/.{key}",
    "http://api/u/{+key}.",
    "http://api/%2e{+key};x?y",
    "http://api/u%2f{key}%2F",
    "http://api/x?y={key}&z=1",
    "http://api/x?y=/{+key}",
];

/// Keys of the bytes that matter, and any others.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let near = vec(select(&b"./\\;%2eEfFa?#+ \xc3"[..]), 0..8);
    prop_oneof![near, vec(any::<u8>(), 0..24)]
}

proptest! {
    #[test]
    fn targets_hold_what_they_promise(text in select(&TEMPLATES[..]), key in key()) {
        let template = template(text);
        let Ok(target) = template.path(&key) else { return Ok(()) };
        prop_assert!(target.starts_with('/') && target.len() <= MAX_PATH_LEN);
        prop_assert_eq!(check_characters(&target), Ok(()));
        prop_assert_eq!(target.matches('?').count(), text.matches('?').count());
        let (path, _) = target.split_once('?').unwrap_or((&target, ""));
        // Twice decoded segments would be the server's own mistake; once decoded ones must not be dots.
        let path = path.replace("%2e", ".").replace("%2E", ".");
        prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{target}");
        let encoded = target.strip_prefix(&*template.before).and_then(|rest| rest.strip_suffix(&*template.after));
        prop_assert_eq!(decoded(encoded.unwrap().as_bytes()), key);
    }

    #[test]
    fn different_keys_have_different_targets(text in select(&TEMPLATES[..]), one in key(), two in key()) {
        let template = template(text);
        if let (Ok(first), Ok(second)) = (template.path(&one), template.path(&two)) {
            prop_assert_eq!(first == second, one == two, "{} {}", first, second);
        }
    }

    #[test]
    fn arbitrary_templates_are_read_or_refused(
        text in "http://(api|\\[::1\\])?(:[0-9]{0,5})?[/{}+key?%.#@a-f2 é]{0,20}", key in key(),
    ) {
        let Ok(template) = Template::parse(&text) else { return Ok(()) };
        prop_assert!(template.port() > 0);
        prop_assert_eq!(Host::parse(template.host()).map(|host| host.to_string()), Ok(template.host().to_owned()));
        if let Ok(target) = template.path(&key) {
            prop_assert_eq!(check_characters(&target), Ok(()));
            prop_assert!(!has_dot_segment(&target));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        let _ = Template::parse(&text);
    }
}
