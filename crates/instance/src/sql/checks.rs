//! Follows.
pub(super) async fn run_ended(_tx: &mut super::WriteTx, _run: &catchment_core::Run) -> crate::Result<()> {
    Ok(())
}
