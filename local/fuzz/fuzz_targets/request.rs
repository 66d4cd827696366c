//! Any request gets an answer: `cargo +nightly fuzz run request`, in `local/`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let status = kinesis_local::fuzz::answer(input);
    assert!(status < 500, "status {status}");
});
