# editd_plugin(NAME SOURCES files... PROTO file EXAMPLE file [PROTO_ROOT folder] [DEPS libraries...] [TEST_ONLY])
#
# Builds the plugin NAME: the target plugin_NAME, a shared object NAME.so that exports only edit_plugin_entry_v1.
#   SOURCES  its C++ sources; one of them has EDIT_PLUGIN("NAME", ...).
#   PROTO    the file with its spec message (and result message), relative to PROTO_ROOT. PROTO_ROOT is the current
#            source folder; in editd's own tree proto/. "editd/v1/options.proto" can always be imported.
#   EXAMPLE  a commented job spec as text, which `editctl init NAME` prints.
#   DEPS     further libraries.
#   TEST_ONLY  it goes to tests/plugins in the build folder and is never installed.
# The messages are the static library plugin_NAME_proto, for tests of the plugin's parts to link.
#
# Works in the tree and, installed, through find_package(EditdPlugin).
function(editd_plugin name)
  cmake_parse_arguments(ARG "TEST_ONLY" "PROTO;PROTO_ROOT;EXAMPLE" "SOURCES;DEPS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_SOURCES OR NOT ARG_PROTO OR NOT ARG_EXAMPLE)
    message(FATAL_ERROR "editd_plugin(${name}): SOURCES, PROTO and EXAMPLE are needed; not understood: '${ARG_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT ARG_PROTO_ROOT)
    set(ARG_PROTO_ROOT ${EDITD_PLUGIN_PROTO_ROOT})
  endif()
  if(NOT ARG_PROTO_ROOT)
    set(ARG_PROTO_ROOT ${CMAKE_CURRENT_SOURCE_DIR})
  endif()
  get_filename_component(root ${ARG_PROTO_ROOT} ABSOLUTE)
  get_filename_component(example ${ARG_EXAMPLE} ABSOLUTE)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/plugin_${name})
  file(MAKE_DIRECTORY ${generated})
  string(REGEX REPLACE "\\.proto$" "" stem ${ARG_PROTO})

  # The messages: the plugin's own and the options that their fields carry.
  add_custom_command(
    OUTPUT ${generated}/${stem}.pb.cc ${generated}/${stem}.pb.h ${generated}/editd/v1/options.pb.cc
           ${generated}/editd/v1/options.pb.h
    COMMAND ${EDITD_PROTOC} -I${root} -I${EDITD_PROTO_DIR} --cpp_out=${generated} ${root}/${ARG_PROTO}
    COMMAND ${EDITD_PROTOC} -I${EDITD_PROTO_DIR} --cpp_out=${generated} ${EDITD_PROTO_DIR}/editd/v1/options.proto
    DEPENDS ${root}/${ARG_PROTO} ${EDITD_PROTO_DIR}/editd/v1/options.proto)
  add_library(plugin_${name}_proto STATIC ${generated}/${stem}.pb.cc ${generated}/editd/v1/options.pb.cc)
  set_target_properties(plugin_${name}_proto PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  target_include_directories(plugin_${name}_proto SYSTEM PUBLIC ${generated})
  target_link_libraries(plugin_${name}_proto PUBLIC protobuf::libprotobuf)

  # What the plugin says of itself, as bytes in the object.
  add_custom_command(
    OUTPUT ${generated}/descriptors.pb
    COMMAND ${EDITD_PROTOC} -I${root} -I${EDITD_PROTO_DIR} --include_imports --include_source_info
            --descriptor_set_out=${generated}/descriptors.pb ${root}/${ARG_PROTO}
    DEPENDS ${root}/${ARG_PROTO} ${EDITD_PROTO_DIR}/editd/v1/options.proto)
  file(CONFIGURE OUTPUT ${generated}/embedded.cc @ONLY CONTENT [[
asm(R"(
  .section .rodata
  .balign 16
  .globl editd_plugin_descriptors, editd_plugin_descriptors_end, editd_plugin_example
  .hidden editd_plugin_descriptors, editd_plugin_descriptors_end, editd_plugin_example
editd_plugin_descriptors:
  .incbin "@generated@/descriptors.pb"
editd_plugin_descriptors_end:
editd_plugin_example:
  .incbin "@example@"
  .byte 0
  .text
)");
]])
  set_source_files_properties(${generated}/embedded.cc PROPERTIES OBJECT_DEPENDS "${generated}/descriptors.pb;${example}")

  file(CONFIGURE OUTPUT ${generated}/exports.map CONTENT "{ global: edit_plugin_entry_v1; local: *; };\n")
  add_library(plugin_${name} MODULE ${ARG_SOURCES} ${generated}/embedded.cc)
  set_target_properties(plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME ${name} CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON LINK_DEPENDS ${generated}/exports.map)
  target_compile_features(plugin_${name} PRIVATE cxx_std_20)
  target_compile_options(plugin_${name} PRIVATE ${EDITD_WARNINGS})
  target_link_options(plugin_${name} PRIVATE -Wl,--version-script=${generated}/exports.map)
  target_link_libraries(plugin_${name} PRIVATE plugin_${name}_proto editd::plugin_sdk ${ARG_DEPS})
  if(ARG_TEST_ONLY)
    set_target_properties(plugin_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/plugins)
  else()
    set_target_properties(plugin_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib/editd/plugins)
    install(TARGETS plugin_${name} LIBRARY DESTINATION lib/editd/plugins)
  endif()
endfunction()
