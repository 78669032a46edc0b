//! Functions that give error codes of brokers, declared as giving numbers: brokers may have codes that the bindings' enumeration
//! lacks, and no such value may come to be.

use core::ffi::{CStr, c_char, c_int};
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode as Code;

unsafe extern "C" {
    pub fn rd_kafka_err2str(code: c_int) -> *const c_char;
    pub fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
    pub fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
    pub fn rd_kafka_ConfigResource_error(resource: *const sys::rd_kafka_ConfigResource_t) -> c_int;
    pub fn rd_kafka_offsets_for_times(
        client: *mut sys::rd_kafka_t,
        times: *mut sys::rd_kafka_topic_partition_list_t,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn rd_kafka_metadata(
        client: *mut sys::rd_kafka_t,
        all_topics: c_int,
        only: *mut sys::rd_kafka_topic_t,
        found: *mut *const sys::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn rd_kafka_query_watermark_offsets(
        client: *mut sys::rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
        timeout_ms: c_int,
    ) -> c_int;
}

/// The code with that number.
pub fn code_of(number: c_int) -> Code {
    sys::rd_kafka_resp_err_t::try_from(number).map_or(Code::Unknown, Code::from)
}

/// What a number means, as text.
pub fn meaning(number: c_int) -> String {
    // SAFETY: any number has a text, which lives until this thread asks for the next one.
    unsafe { CStr::from_ptr(rd_kafka_err2str(number)) }.to_string_lossy().into_owned()
}
