# find_package(EditdPlugin): the header-only target editd::plugin_sdk and the function editd_plugin. Needs the system's
# packages of abseil and protobuf (its compiler included).
include(CMakeFindDependencyMacro)
find_dependency(absl)
find_dependency(Protobuf)
find_program(EDITD_PROTOC protoc REQUIRED)
get_filename_component(editd_prefix ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
set(EDITD_PROTO_DIR ${editd_prefix}/share/editd/proto)
if(NOT TARGET editd::plugin_sdk)
  add_library(editd::plugin_sdk INTERFACE IMPORTED)
  target_include_directories(editd::plugin_sdk INTERFACE ${editd_prefix}/include)
  target_link_libraries(editd::plugin_sdk INTERFACE absl::status absl::statusor protobuf::libprotobuf)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/EditdPlugin.cmake)
