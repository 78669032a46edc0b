//! A scripted broker: enough of Kafka's protocol for librdkafka to follow topics, with logs that a test writes as it likes.
//!
//! It shows what a real broker cannot be steered into: batches with gaps where they are wanted, damaged bytes, logs that are cut,
//! topics made anew between two requests, answers that come late, are held back, or lie. What it says of itself is true unless a
//! test asks for lies. Its threads end with it; requests that it does not know close their connection.
//!
//! It knows ApiVersions 0 (and refuses later ones as old brokers do), Metadata 4, and up to 12 where topics have ids, ListOffsets 2,
//! Fetch 4, FindCoordinator 0. Nothing can be produced but by [`Broker::edit`] and its like. There is one broker, no epochs of leaders,
//! no compression.

mod answers;
pub mod log;
mod serve;
mod wire;

pub use answers::Api;
pub use log::{Log, Record, record, tombstone};
pub use serve::Frame;

use crate::kafka::until;
use answers::{Topic, Topics};
use serve::{Lie, Shared, State};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// See the module's text.
pub struct Broker {
    shared: Arc<Shared>,
    port: u16,
    listening: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts one on a free port, whose topics have ids.
    pub fn start() -> Broker {
        Broker::start_with(true)
    }

    /// The same; without ids it knows Metadata 4 only, as brokers before 2.8.
    pub fn start_with(has_ids: bool) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::new(Topics { port, has_ids, ..Topics::default() }));
        let listening = Some(serve::listen(listener, &shared));
        Broker { shared, port, listening }
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.shared.lock());
        self.shared.changed.notify_all();
        changed
    }

    /// Makes a topic with empty partitions; one that is there is deleted before, so that the new one has another id.
    pub fn make(&self, topic: &str, partitions: usize) {
        self.make_with(topic, vec![Log::default(); partitions]);
    }

    /// The same with these logs.
    pub fn make_with(&self, topic: &str, partitions: Vec<Log>) {
        self.change(|state| {
            state.made += 1;
            let id = (u128::from(state.made) << 64 | 0x4D69_6C6C).to_be_bytes();
            state.topics.named.insert(topic.to_owned(), Topic { id, error: 0, partitions });
        });
    }

    /// A topic gets one more partition.
    pub fn widen(&self, topic: &str, log: Log) {
        self.change(|state| state.topics.named.get_mut(topic).expect("a topic").partitions.push(log));
    }

    /// Deletes a topic.
    pub fn delete(&self, topic: &str) {
        self.change(|state| state.topics.named.remove(topic));
    }

    /// What is told of a topic is this error; 0 = none.
    pub fn fail(&self, topic: &str, error: i16) {
        self.change(|state| state.topics.named.get_mut(topic).expect("a topic").error = error);
    }

    /// Does something to the log of a partition, in one step.
    pub fn edit<T>(&self, topic: &str, partition: usize, edit: impl FnOnce(&mut Log) -> T) -> T {
        self.change(|state| edit(&mut state.topics.named.get_mut(topic).expect("a topic").partitions[partition]))
    }

    /// Appends one record in a batch of its own; its offset.
    pub fn send(&self, topic: &str, partition: usize, key: &str, value: &str) -> i64 {
        self.edit(topic, partition, |log| log.append(&[record(key, value)]))
    }

    /// The log of a partition as it is now.
    pub fn log(&self, topic: &str, partition: usize) -> Log {
        self.shared.lock().topics.named[topic].partitions[partition].clone()
    }

    /// How many requests of a kind were answered.
    pub fn answered(&self, api: Api) -> u64 {
        self.shared.lock().answered.get(&api).copied().unwrap_or(0)
    }

    /// Waits until so many more requests of a kind were answered.
    pub fn until_answered(&self, api: Api, more: u64) {
        let before = self.answered(api);
        until(&format!("{more} {api:?} are answered"), || (self.answered(api) >= before + more).then_some(()));
    }

    /// Answers of a kind come so much later.
    pub fn delay(&self, api: Api, by: Duration) {
        self.change(|state| state.delays.insert(api, by));
    }

    /// Answers of these kinds are held back until [`release`](Self::release), as by a broker that hangs.
    pub fn hold(&self, apis: &[Api]) {
        self.change(|state| state.held.extend(apis));
    }

    /// Whether an answer of a kind is being held back.
    pub fn holds(&self, api: Api) -> bool {
        self.shared.lock().waiting.get(&api).is_some_and(|waiting| *waiting > 0)
    }

    /// Nothing is held back any more.
    pub fn release(&self) {
        self.change(|state| state.held.clear());
    }

    /// Answers of a kind are changed before they are sent, until [`be_honest`](Self::be_honest).
    pub fn lie(&self, api: Api, lie: impl FnMut(&mut Frame) + Send + 'static) {
        let lie: Lie = Box::new(lie);
        self.change(|state| state.lies.insert(api, lie));
    }

    /// Answers are true and prompt again.
    pub fn be_honest(&self) {
        self.change(|state| {
            state.lies.clear();
            state.delays.clear();
        });
    }

    /// Closes all connections; clients may connect again.
    pub fn hang_up(&self) {
        let streams = self.change(|state| {
            state.era += 1;
            std::mem::take(&mut state.streams)
        });
        streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// Closes all connections and takes none, until [`up`](Self::up).
    pub fn down(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        self.change(|state| state.is_up = false);
        // Lets it see that.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let _ = listening.join();
        self.hang_up();
    }

    /// Is there again, at the same port, with the same logs.
    pub fn up(&mut self) {
        assert!(self.listening.is_none(), "it is up");
        let listener = until("the port is free", || TcpListener::bind(("127.0.0.1", self.port)).ok());
        self.change(|state| state.is_up = true);
        self.listening = Some(serve::listen(listener, &self.shared));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.release();
        self.down();
        self.shared.finish();
    }
}
