//! The command `kds`.

fn main() -> std::process::ExitCode {
    kds::run(std::env::args_os())
}
