use catchment::{Graph, graph, job};

#[job]
async fn runs(g: &mut Graph) { //~ this function wires ops and runs none: write `fn`, without async
    let _ = g;
}

#[graph]
fn gives_a_number(g: &mut Graph) -> u32 { //~ a graph returns nothing, a `Wire<T>` or a tuple of them, not `u32`
    let _ = g;
    1
}

#[graph]
fn takes_a_number(g: &mut Graph, n: u32) { //~ a graph takes `Wire<T>`, not `u32`
    let _ = (g, n);
}

fn main() {}
