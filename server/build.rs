//! Has the linker give librdkafka zeroed memory; see `src/zeroed.rs`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if is_linux && std::env::var_os("CARGO_FEATURE_KAFKA").is_some() {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap=malloc");
    }
}
