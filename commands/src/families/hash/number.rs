//! Numbers in fields: HINCRBY, HINCRBYFLOAT.

use super::edit;
use crate::call::Call;
use crate::error::Error;
use crate::families::counter::{add_texts, parse_float};
use crate::families::string::text_of_value;
use protocol::number::parse_i64;

pub(super) fn hincrby(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (field, delta) = (call.args.at(2), call.integer(3)?);
    edit(call, |hash, reply| {
        let current = match hash.as_ref().get(field) {
            Some(value) => text_of_value(&value, parse_i64).ok_or(Error::err("hash value is not an integer"))?,
            None => 0,
        };
        let sum = current.checked_add(delta).ok_or(Error::err("increment or decrement would overflow"))?;
        hash.set(field, itoa::Buffer::new().format(sum).as_bytes());
        reply.integer(sum);
        Ok(())
    })
}

pub(super) fn hincrbyfloat(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (field, increment) = (call.args.at(2), call.args.at(3));
    if !parse_float(increment).ok_or(Error::NOT_FLOAT)?.is_finite() {
        return Err(Error::err("value is NaN or Infinity"));
    }
    edit(call, |hash, reply| {
        let sum = match hash.as_ref().get(field) {
            Some(value) => text_of_value(&value, |current| {
                parse_float(current).ok_or(Error::err("hash value is not a float"))?;
                add_texts(current, increment)
            })?,
            None => add_texts(b"0", increment)?,
        };
        hash.set(field, sum.as_bytes());
        reply.bulk_str(&sum);
        Ok(())
    })
}
