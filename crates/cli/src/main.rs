//! The binary `catchment`.

fn main() -> std::process::ExitCode {
    catchment_cli::main()
}
