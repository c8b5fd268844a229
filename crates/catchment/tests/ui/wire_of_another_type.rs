use catchment::{DynamicOutput, Graph, Input, Problem, graph, op};

#[op]
async fn text() -> Result<String, Problem> {
    Ok(String::new())
}

#[op]
async fn spread() -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok(Vec::new())
}

#[op]
async fn number(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n)
}

#[graph]
fn wrong(g: &mut Graph) {
    let text = text::node(g);
    number::node(g, text); //~ mismatched types
    let spread = spread::node(g);
    number::node(g, spread); //~ mismatched types
}

fn main() {}
