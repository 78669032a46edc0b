//! What C code in this program gets from `malloc` is zeroed: librdkafka 2.12 reads memory that it never wrote.
//!
//! A broker that comes back says of some partitions who leads them, and of others that nobody does. librdkafka makes room for all of
//! these but writes the first kind alone (`rd_kafka_handle_Fetch_metadata_update`), and then uses what happens to lie in the rest as
//! numbers of partitions: negative ones end the process (its issue 5280). Zeroed, the rest names partition 0 and broker 0 at epoch 0,
//! which is older than what is known, or is set right by the broker's next answer. `build.rs` has the linker send calls here; Rust's
//! own memory comes from elsewhere.

use core::ffi::c_void;

unsafe extern "C" {
    fn calloc(count: usize, bytes: usize) -> *mut c_void;
}

/// In the place of `malloc`.
#[unsafe(no_mangle)]
extern "C" fn __wrap_malloc(bytes: usize) -> *mut c_void {
    // SAFETY: any numbers are allowed; who asked for memory frees it with `free`, which is the same for both.
    unsafe { calloc(1, bytes) }
}
