//! An HTTP origin for tests: each request is counted and answered with the bytes a closure gives, true or lying.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and target, such as `GET /users/7`.
    pub line: String,
    /// Headers in lower case, `name: value`.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What an origin does with a request.
pub enum Told {
    /// Sends these bytes and goes on.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Sends these bytes again and again until nobody takes them.
    Endless(Vec<u8>),
    /// Says nothing until the other side closes.
    Silence,
}

/// A running origin; its threads end with the process.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Origin {
    /// Starts one on a free port.
    pub fn start(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || drop(serve(stream, &seen, &*answer)));
            }
        });
        Self { address, asked }
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no thread has failed").clone()
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.asked.lock().expect("no thread has failed").len()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Told) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            headers.push(format!("{}: {}", name.to_ascii_lowercase(), value.trim()));
        }
        let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut asked = Asked { line, headers, body: Vec::new() };
        let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        asked.body = vec![0; length];
        reader.read_exact(&mut asked.body)?;
        seen.lock().expect("no thread has failed").push(asked.clone());
        match answer(&asked) {
            Told::Bytes(bytes) => writer.write_all(&bytes)?,
            Told::Last(bytes) => return writer.write_all(&bytes),
            Told::Endless(bytes) => loop {
                writer.write_all(&bytes)?;
            },
            Told::Silence => return reader.read_to_end(&mut Vec::new()).map(drop),
        }
    }
}

/// An answer with this status, headers and body.
pub fn answer(status: &str, headers: &[&str], body: &str) -> Told {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    Told::Bytes(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// A value with these headers.
pub fn value(body: &str, headers: &[&str]) -> Told {
    answer("200 OK", headers, body)
}
