//! A core's connections by number; a number is reused only with another generation.

use super::connection::Connection;

/// Names a connection: index in the low half, generation in the high one. Fits an epoll event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

/// The connections of one core.
#[derive(Default)]
pub struct Slots {
    slots: Vec<(u32, Option<Box<Connection>>)>,
    free: Vec<u32>,
}

impl Slots {
    /// Takes a connection in and gives its token.
    pub fn insert(&mut self, connection: Connection) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(Box::new(connection));
        Token(u64::from(slot.0) << 32 | u64::from(index))
    }

    /// The connection of a token, unless it has gone.
    #[inline]
    pub fn find(&mut self, token: Token) -> Option<&mut Connection> {
        let (generation, connection) = self.slots.get_mut(token.0 as u32 as usize)?;
        if u64::from(*generation) == token.0 >> 32 { connection.as_deref_mut() } else { None }
    }

    /// Takes a connection out.
    pub fn remove(&mut self, token: Token) -> Option<Box<Connection>> {
        self.find(token)?;
        let index = token.0 as u32;
        let slot = &mut self.slots[index as usize];
        slot.0 = slot.0.wrapping_add(1) & (u32::MAX >> 1);
        self.free.push(index);
        slot.1.take()
    }

    /// Tokens of all connections.
    pub fn tokens(&self) -> Vec<Token> {
        let present = |(index, (generation, connection)): (usize, &(u32, Option<Box<Connection>>))| {
            connection.is_some().then_some(Token(u64::from(*generation) << 32 | index as u64))
        };
        self.slots.iter().enumerate().filter_map(present).collect()
    }
}
