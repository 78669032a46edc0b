//! Projections of Kafka's topics, against a real broker and registry: what they promise, as somebody would test it who does not
//! believe it. What they are measured by is an independent reader of the same topics. What no real broker can be steered into, a
//! scripted one shows.

#[path = "projection/followers.rs"]
mod followers;
#[path = "projection/http.rs"]
mod http;
#[path = "projection/memory.rs"]
mod memory;
#[path = "projection/outage.rs"]
mod outage;
#[path = "projection/ownership.rs"]
mod ownership;
#[path = "projection/poison.rs"]
mod poison;
#[path = "projection/pond.rs"]
mod pond;
#[path = "projection/ready.rs"]
mod ready;
#[path = "projection/recreated.rs"]
mod recreated;
#[path = "projection/registry.rs"]
mod registry;
#[path = "projection/replay.rs"]
mod replay;
#[path = "projection/rules.rs"]
mod rules;
#[path = "projection/schemas.rs"]
mod schemas;
#[path = "projection/scripted.rs"]
mod scripted;
#[path = "projection/secured.rs"]
mod secured;
#[path = "projection/settings.rs"]
mod settings;
#[path = "projection/tombstones.rs"]
mod tombstones;
#[path = "projection/ttl.rs"]
mod ttl;
