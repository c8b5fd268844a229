//! The code location that `bench/orchestrator` measures, and that the tests of survival (`tests/e2e`) run under load.
//!
//! [`measured`] holds what is compared with Dagster: the same job of one op, the same job of 200, the same sensor of
//! a folder. [`load`] holds what keeps an installation busy while its processes are killed.

use std::process::ExitCode;

use catchment::Definitions;

mod load;
mod measured;

fn definitions() -> Definitions {
    load::add(measured::add(Definitions::new("bench")))
}

fn main() -> ExitCode {
    catchment::serve(definitions)
}

#[cfg(test)]
mod tests {
    use super::definitions;

    #[test]
    fn the_definitions_are_in_order() {
        assert_eq!(definitions().check(), []);
    }

    #[tokio::test]
    async fn the_large_job_has_two_hundred_steps() {
        let made = catchment::execute_job(&definitions(), "two_hundred_ops").await.unwrap();
        assert_eq!(made.output("n199").as_deref(), Some(&1_u32));
    }
}
