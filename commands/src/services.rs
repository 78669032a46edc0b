//! Services: names for groups of keys that share a prefix, with the policy of their freshness.
//!
//! Three levels by habit, any number by rule: `*` is every key, `user` those of `user:`, `user.get_user` those of
//! `user:get_user:`. The service with the longest prefix is a key's; what it leaves open comes from the next longer one
//! that holds it, in the end from the defaults. Definitions change rarely and are read by every SWR command: a change makes
//! a new registry, and readers take the one there is.

pub mod fields;
pub mod stats;

use arc_swap::ArcSwap;
use core::sync::atomic::{AtomicBool, Ordering};
use fields::{FIELDS, Loader, Policy};
use parking_lot::Mutex;
use stats::ServiceStats;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use storage::limits::DATABASES;
use storage::{Bulkhead, Db};

/// Services there may be.
pub const MAX_SERVICES: usize = 4096;
/// Longest name and prefix of one.
pub const MAX_NAME_BYTES: usize = 64;
/// See above.
pub const MAX_PREFIX_BYTES: usize = 512;

/// The name of the service of all keys.
pub const GLOBAL: &str = "*";

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Box<str>,
    /// What its keys begin with.
    pub prefix: Box<[u8]>,
    /// The database of its keys; every one for the service of all keys.
    pub db: Db,
    /// The fields it sets itself, by index.
    pub own: BTreeMap<usize, Box<str>>,
    /// What holds for its keys.
    pub policy: Policy,
    /// What happened to them.
    pub stats: Arc<ServiceStats>,
    /// Places for its loads.
    pub bulkhead: Arc<Bulkhead>,
}

impl Service {
    /// A key as its origin knows it: without the prefix of the service that names the origin.
    pub fn key_at_origin<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.strip_prefix(&*self.policy.origin_prefix).unwrap_or(key)
    }
}

/// Why a definition was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A name has up to 64 letters, digits, `.`, `_`, `-`.
    Name,
    /// A new service needs a prefix of up to 512 bytes.
    NoPrefix,
    /// Prefix and database of a service stay as they are.
    Fixed,
    /// Another service has this prefix.
    Taken,
    /// There are as many services as there may be.
    TooMany,
    /// FRESH, STALE, RETAIN do not ascend.
    Windows,
    /// LOADER origin goes with an ORIGIN.
    NoOrigin,
    /// PERSIST goes with snapshots.
    NoSnapshots,
}

impl Unfit {
    /// The text of the error.
    pub fn text(self) -> &'static str {
        match self {
            Self::Name => "invalid service name",
            Self::NoPrefix => "a new service needs a PREFIX of 1 to 512 bytes",
            Self::Fixed => "PREFIX and DB of a service cannot be changed",
            Self::Taken => "another service has that prefix",
            Self::TooMany => "too many services",
            Self::Windows => "windows out of order",
            Self::NoSnapshots => "PERSIST needs snapshots, and there are none yet",
            Self::NoOrigin => "LOADER origin and WRITE through need an ORIGIN; for writes it has a place for the key",
        }
    }
}

/// The services there are.
#[derive(Debug)]
pub struct Registry {
    global: Arc<Service>,
    by_name: BTreeMap<Box<str>, Arc<Service>>,
    /// By database, those but the global one.
    by_prefix: Vec<ByPrefix>,
}

#[derive(Debug, Default)]
struct ByPrefix {
    /// Lengths of prefixes, longest first.
    lengths: Vec<usize>,
    services: HashMap<Box<[u8]>, Arc<Service>>,
}

impl Registry {
    /// `books`: stats and bulkhead of the service of all keys, which is there without a definition too.
    fn of(definitions: impl IntoIterator<Item = Service>, books: (Arc<ServiceStats>, Arc<Bulkhead>)) -> Self {
        let mut all: Vec<Service> = definitions.into_iter().collect();
        // Shortest prefixes first: what a longer one inherits is known then.
        all.sort_by_key(|service| service.prefix.len());
        let mut registry = Self {
            global: Arc::new(Service {
                name: GLOBAL.into(),
                prefix: [].into(),
                db: Db(0),
                own: BTreeMap::new(),
                policy: Policy::new(|name| default_of(name)),
                stats: books.0,
                bulkhead: books.1,
            }),
            by_name: BTreeMap::new(),
            by_prefix: (0..DATABASES).map(|_| ByPrefix::default()).collect(),
        };
        for mut service in all {
            let mut texts = registry.merged(service.db, &service.prefix);
            service.own.iter().for_each(|(field, text)| texts[*field] = text.clone());
            service.policy = Policy::new(|name| &texts[fields::find(name.as_bytes()).expect("a field of the table")]);
            let names_origin = fields::find(b"ORIGIN").is_some_and(|field| service.own.contains_key(&field));
            service.policy.origin_prefix = match registry.chain(service.db, &service.prefix).first() {
                Some(longer) if !names_origin => longer.policy.origin_prefix.clone(),
                _ => service.prefix.clone(),
            };
            let service = Arc::new(service);
            if &*service.name == GLOBAL {
                registry.global = Arc::clone(&service);
            } else {
                let of_db = &mut registry.by_prefix[usize::from(service.db.0)];
                of_db.services.insert(service.prefix.clone(), Arc::clone(&service));
                of_db.lengths.push(service.prefix.len());
                of_db.lengths.sort_unstable_by(|a, b| b.cmp(a));
                of_db.lengths.dedup();
            }
            registry.by_name.insert(service.name.clone(), service);
        }
        registry
    }

    /// Whether what holds for each service fits together.
    fn check(&self) -> Result<(), Unfit> {
        for service in self.with_global() {
            let (policy, origin) = (&service.policy, &service.policy.origin);
            if fields::Given::of(policy).lifetimes(policy).is_none() {
                return Err(Unfit::Windows);
            }
            let writes_nowhere = policy.write_through && !origin.as_ref().is_some_and(|origin| origin.has_key());
            if policy.loader == Loader::Origin && origin.is_none() || writes_nowhere {
                return Err(Unfit::NoOrigin);
            }
            if policy.persist {
                return Err(Unfit::NoSnapshots);
            }
        }
        Ok(())
    }

    fn global_books(&self) -> (Arc<ServiceStats>, Arc<Bulkhead>) {
        (Arc::clone(&self.global.stats), Arc::clone(&self.global.bulkhead))
    }

    /// The services whose prefixes a key begins with, longest first, the global one last.
    fn chain(&self, db: Db, key: &[u8]) -> Vec<Arc<Service>> {
        let of_db = &self.by_prefix[usize::from(db.0)];
        let fitting = of_db.lengths.iter().filter(|length| **length <= key.len());
        let found = fitting.filter_map(|length| of_db.services.get(&key[..*length]));
        found.chain([&self.global]).map(Arc::clone).collect()
    }

    /// What holds for a key, for each of [`FIELDS`].
    pub fn merged(&self, db: Db, key: &[u8]) -> Vec<Box<str>> {
        let chain = self.chain(db, key);
        let set = |field| chain.iter().find_map(|service| service.own.get(&field));
        FIELDS.iter().enumerate().map(|(at, field)| set(at).map_or(field.default.into(), Clone::clone)).collect()
    }

    /// The service of a key.
    #[inline]
    pub fn resolve(&self, db: Db, key: &[u8]) -> &Arc<Service> {
        let of_db = &self.by_prefix[usize::from(db.0)];
        let fitting = of_db.lengths.iter().filter(|length| **length <= key.len());
        fitting.into_iter().find_map(|length| of_db.services.get(&key[..*length])).unwrap_or(&self.global)
    }

    /// The service of this name; the global one is there without a definition.
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Service>> {
        let name = core::str::from_utf8(name).ok()?;
        if name == GLOBAL { Some(&self.global) } else { self.by_name.get(name) }
    }

    /// All that were defined, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.values()
    }

    /// The global service and all others.
    pub fn with_global(&self) -> impl Iterator<Item = &Arc<Service>> {
        let others = self.by_name.values().filter(|service| &*service.name != GLOBAL);
        core::iter::once(&self.global).chain(others)
    }
}

fn default_of(name: &str) -> &'static str {
    fields::find(name.as_bytes()).map(|at| FIELDS[at].default).expect("a field of the table")
}

/// What a definition says.
#[derive(Debug, Default)]
pub struct Definition {
    /// What the keys begin with.
    pub prefix: Option<Box<[u8]>>,
    /// Their database.
    pub db: Option<Db>,
    /// Fields by index, in their usual form; `None` = from now on inherited.
    pub fields: BTreeMap<usize, Option<Box<str>>>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Services {
    registry: ArcSwap<Registry>,
    /// Whether plain writes have to ask for their service.
    has_defaults: AtomicBool,
    /// Whether plain reads have to.
    has_loaders: AtomicBool,
    /// Whether writes of any key go to an origin first.
    writes_through: AtomicBool,
    /// Changes are made one after the other.
    change: Mutex<()>,
    cores: usize,
}

impl Services {
    /// None but the global one.
    pub fn new(cores: usize) -> Self {
        let registry =
            ArcSwap::from_pointee(Registry::of([], (Arc::new(ServiceStats::new(cores)), Arc::new(Bulkhead::new(0)))));
        Self {
            registry,
            has_defaults: AtomicBool::new(false),
            has_loaders: AtomicBool::new(false),
            writes_through: AtomicBool::new(false),
            change: Mutex::new(()),
            cores,
        }
    }

    /// Whether DEFAULTS is set for any key.
    #[inline]
    pub fn has_defaults(&self) -> bool {
        self.has_defaults.load(Ordering::Relaxed)
    }

    /// Whether writes of any key go to an origin first.
    #[inline]
    pub fn writes_through(&self) -> bool {
        self.writes_through.load(Ordering::Relaxed)
    }

    /// Whether values of any key are loaded by others than its readers.
    #[inline]
    pub fn has_loaders(&self) -> bool {
        self.has_loaders.load(Ordering::Relaxed)
    }

    fn put(&self, registry: Registry) {
        let has_defaults = registry.all().any(|service| service.policy.defaults);
        let has_loaders = registry.all().any(|service| service.policy.loader != Loader::Lease);
        let writes_through = registry.all().any(|service| service.policy.write_through);
        for service in registry.with_global() {
            service.bulkhead.set_most(service.policy.max_loads);
        }
        self.registry.store(Arc::new(registry));
        self.has_defaults.store(has_defaults, Ordering::Relaxed);
        self.has_loaders.store(has_loaders, Ordering::Relaxed);
        self.writes_through.store(writes_through, Ordering::Relaxed);
    }

    /// Those there are now.
    #[inline]
    pub fn now(&self) -> arc_swap::Guard<Arc<Registry>> {
        self.registry.load()
    }

    /// Defines a service, or changes fields of one. `db`: the database of a new one that names none.
    pub fn define(&self, name: &[u8], db: Db, definition: Definition) -> Result<(), Unfit> {
        let name = core::str::from_utf8(name).ok().filter(|name| is_name(name)).ok_or(Unfit::Name)?;
        let _change = self.change.lock();
        let registry = self.registry.load_full();
        let mut service = match registry.by_name.get(name) {
            Some(known) => {
                let same = definition.prefix.as_ref().is_none_or(|prefix| *prefix == known.prefix)
                    && definition.db.is_none_or(|db| db == known.db);
                if !same {
                    return Err(Unfit::Fixed);
                }
                Service::clone(known)
            }
            None => {
                let prefix = match definition.prefix {
                    // It has the empty prefix in every database.
                    prefix if name == GLOBAL => {
                        prefix.filter(|prefix| !prefix.is_empty()).map_or(Ok([].into()), |_| Err(Unfit::Fixed))?
                    }
                    Some(prefix) if !prefix.is_empty() && prefix.len() <= MAX_PREFIX_BYTES => prefix,
                    _ => return Err(Unfit::NoPrefix),
                };
                let db = definition.db.unwrap_or(db);
                if registry.all().any(|other| other.db == db && other.prefix == prefix && &*other.name != GLOBAL) {
                    return Err(Unfit::Taken);
                }
                if registry.by_name.len() >= MAX_SERVICES {
                    return Err(Unfit::TooMany);
                }
                let is_global = name == GLOBAL;
                let (stats, bulkhead) = if is_global {
                    registry.global_books()
                } else {
                    (Arc::new(ServiceStats::new(self.cores)), Arc::new(Bulkhead::new(0)))
                };
                let db = if is_global { Db(0) } else { db };
                let policy = registry.global.policy.clone();
                Service { name: name.into(), prefix, db, own: BTreeMap::new(), policy, stats, bulkhead }
            }
        };
        for (field, text) in definition.fields {
            match text {
                Some(text) => service.own.insert(field, text),
                None => service.own.remove(&field),
            };
        }
        let name = service.name.clone();
        let others = registry.all().filter(|other| other.name != name).map(|other| Service::clone(other));
        let new = Registry::of(others.chain([service]), registry.global_books());
        new.check()?;
        self.put(new);
        Ok(())
    }

    /// Forgets a service; whether there was one. What others inherit from it must fit without it.
    pub fn remove(&self, name: &[u8]) -> Result<bool, Unfit> {
        let _change = self.change.lock();
        let registry = self.registry.load_full();
        let Some(name) = core::str::from_utf8(name).ok().filter(|name| registry.by_name.contains_key(*name)) else {
            return Ok(false);
        };
        let others = registry.all().filter(|other| &*other.name != name).map(|other| Service::clone(other));
        let new = Registry::of(others, registry.global_books());
        new.check()?;
        self.put(new);
        Ok(true)
    }
}

fn is_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name == GLOBAL || (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_fit)
}
