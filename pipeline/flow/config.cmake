# Configuration to checked graph: a library of its own, so that `validate`, tests and fuzzing need no adapter of a log and no threads.
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)

sonder_library(flow_config
  SOURCES
    config.cpp config_log.cpp config_reader.cpp config_values.cpp config_yaml.cpp graph.cpp graph_cycles.cpp graph_labels.cpp graph_parts.cpp
    graph_wiring.cpp internal_topics.cpp
  LINK sonder::avro sonder::log sonder::plugin sonder::privacy
  PRIVATE yaml-cpp nlohmann_json::nlohmann_json)
sonder_test(config_test SOURCES config_test.cpp LINK sonder::flow_config)
sonder_test(graph_test SOURCES graph_test.cpp graph_labels_test.cpp LINK sonder::flow_config)
sonder_fuzz(config_fuzz SOURCES config_fuzz.cpp LINK sonder::flow_config
  SEEDS corpus/config/*.yaml ${PROJECT_SOURCE_DIR}/config/quickstart.yaml WORDS yaml PLANTED)
