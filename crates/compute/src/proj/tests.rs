use super::{Transformer, better_operation, is_authority_code, resolve, same_coordinates};

#[test]
fn epsg_4326_and_crs84_have_the_same_coordinates_and_lv95_has_others() {
    let [wgs84, crs84, lv95] = ["EPSG:4326", "OGC:CRS84", "EPSG:2056"].map(|code| resolve(code).unwrap());
    assert!(same_coordinates(&wgs84, &crs84).unwrap());
    assert!(!same_coordinates(&wgs84, &lv95).unwrap());
    assert!(Transformer::new(&crs84, &wgs84).unwrap().is_identity());
}

#[test]
fn a_crs_is_described_in_each_notation() {
    let lv95 = resolve("EPSG:2056").unwrap();
    assert_eq!((lv95.name.as_str(), lv95.authority.as_deref()), ("CH1903+ / LV95", Some("EPSG:2056")));
    assert!(lv95.wkt.starts_with("PROJCRS["));
    assert_eq!(lv95.projjson["id"]["code"], 2056);
}

#[test]
fn the_wkt_of_a_shapefile_is_the_same_crs_as_its_code() {
    let esri = r#"GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]"#;
    assert!(same_coordinates(&resolve(esri).unwrap(), &resolve("EPSG:4326").unwrap()).unwrap());
}

#[test]
fn a_crs_that_is_none_is_refused_with_a_remedy() {
    for text in ["EPSG:999999", "not a crs", "EPSG:1188", ""] {
        let problem = resolve(text).unwrap_err();
        assert!(problem.remedy.is_some(), "{problem}");
    }
}

#[test]
fn bern_lies_where_swisstopo_says_and_the_operation_is_recorded() {
    let mut transformer = Transformer::new(&resolve("EPSG:2056").unwrap(), &resolve("EPSG:4326").unwrap()).unwrap();
    let (mut x, mut y) = ([2_600_000.0, f64::NAN], [1_200_000.0, f64::NAN]);
    transformer.transform(&mut x[..1], &mut y[..1], &mut []);
    assert!((x[0] - 7.438632).abs() < 2e-5 && (y[0] - 46.951083).abs() < 2e-5, "{x:?} {y:?}");
    let (name, accuracy) = transformer.used().iter().next().unwrap();
    assert!(name.contains("CH1903+ to WGS 84"), "{name}");
    assert!(!name.contains("axis order"), "{name}");
    assert_eq!(*accuracy, Some(1.0));
}

#[test]
fn a_better_operation_is_named_with_the_grid_that_it_lacks() {
    let (nad27, wgs84) = (resolve("EPSG:4267").unwrap(), resolve("EPSG:4326").unwrap());
    let note = better_operation(&nad27, &wgs84, Some(50.0), Some([-74.3, 40.4, -73.6, 40.9])).unwrap().unwrap();
    assert!(note.contains(" m) needs ") && (note.contains(".tif") || note.contains(".gsb")), "{note}");
    assert_eq!(better_operation(&nad27, &wgs84, Some(0.0), None).unwrap(), None);
}

#[test]
fn codes_are_told_from_other_texts() {
    assert!(is_authority_code("EPSG:4326") && is_authority_code("OGC:CRS84") && is_authority_code("IAU_2015:30100"));
    assert!(!is_authority_code("EPSG:4326'; --") && !is_authority_code("+proj=longlat") && !is_authority_code(":1"));
}
